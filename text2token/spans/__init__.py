"""Spans of a text that become speech: word layout, placement at random, and the table of span policies."""
