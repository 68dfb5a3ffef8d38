"""Proofs of an installation: checks and short trainings, each in processes of its own, and their table."""
