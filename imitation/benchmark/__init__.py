"""Benchmark of generalisation over prompts and tasks: scores of answers, conditions, table and plot."""
