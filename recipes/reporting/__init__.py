"""The report of a run: results, sections, figures and the HTML page."""
