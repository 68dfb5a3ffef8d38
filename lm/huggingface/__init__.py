"""Hugging Face model families: weight mappings read in both directions, and streamed conversion."""
