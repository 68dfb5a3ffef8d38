"""Training examples, labels and augmentation, and speech in bulk as units of work."""
