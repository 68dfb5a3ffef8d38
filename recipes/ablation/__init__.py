"""Ablation of the tokenizer: the grid of options, its steps, its table, plot and page."""
