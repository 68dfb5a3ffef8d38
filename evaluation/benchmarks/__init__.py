"""Benchmarks: one module each (layout, rules, published scores), and the table of all."""
