"""Answers of a chatbot to a manifest of spoken questions."""
