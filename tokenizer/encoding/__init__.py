"""Bulk encoding of a corpus to speech tokens."""
