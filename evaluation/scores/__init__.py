"""Scores of answers: measures of items, their means with intervals, and the stamp that every score carries."""
