"""Training objective, initialisation and warm start of the tokenizer."""
