"""Answers of base models to questions about made-up facts, beside what they hear."""
