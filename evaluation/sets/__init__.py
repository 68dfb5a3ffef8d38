"""Evaluation sets: items, and readers of the layouts that benchmarks are published in."""
