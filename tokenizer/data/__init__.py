"""Training data: examples, batches in a reproducible order, augmentation."""
