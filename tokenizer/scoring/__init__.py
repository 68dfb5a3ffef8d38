"""Scores of a tokenizer: word error rates, token stability under noise, codebook use, latency."""
