"""Training of the tokenizer: objective, warm start, and the implementation of ``tokenizer.train``."""
