"""Training on Accelerate: arguments, the loop, objectives and checkpoints."""
