"""The Megatron model and its training: layers, parallelism, optimizer, checkpoints, the training loop."""
