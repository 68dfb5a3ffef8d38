"""Reports: results of a run's steps, sections, figures and the HTML page."""
