"""Released checkpoints of others: how their tensors are called here, and what stands beside them."""
