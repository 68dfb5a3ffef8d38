"""Published speech corpora: a reader for the folder layout of each, one table of them, and their import."""
