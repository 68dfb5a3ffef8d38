"""Accuracy of spoken answers to single questions and within dialogues."""
