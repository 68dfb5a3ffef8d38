"""Sounds in which nobody speaks, and questions outside what a chatbot knows: neither is to be answered."""
