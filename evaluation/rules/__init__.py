"""Scoring rules: an item and an answer's text in, measures out; deterministic, without a model or the network."""
