"""Training on Accelerate: the loop, the methods it trains by, and what a run keeps."""
