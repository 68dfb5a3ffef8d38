"""Sections of the report, one file each: a function from a run's results to a section, or None without its steps."""
