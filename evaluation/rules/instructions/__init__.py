"""Verifiable instructions (IFEval): one checker for each of the 25 ids, and the scores of an answer that they make."""
