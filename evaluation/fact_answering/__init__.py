"""Answers of base models to questions about made-up facts, with what they hear."""
