"""The bulk synthesis: texts in units of work, their spans as speech tokens, one Parquet file a unit."""
