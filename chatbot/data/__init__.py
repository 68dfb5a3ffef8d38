"""Dialogues on disk, and their preparation from texts, recordings and spoken questions."""
