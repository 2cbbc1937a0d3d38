"""What leaves the machine: checkpoints that carry their own code."""
