"""Checks of an installation: what a machine has, and laws of training that hold on it, each a function of its own."""
