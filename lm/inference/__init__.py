"""Batched generation with a key/value cache on exported models."""
