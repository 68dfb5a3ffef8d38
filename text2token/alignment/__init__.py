"""Interleaved documents of real speech, from the times of its words."""
