"""Training on Accelerate: arguments, the loop, objectives and the cache of text embeddings."""
