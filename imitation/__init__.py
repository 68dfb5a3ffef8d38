"""Floor 6: behaviour imitation (MTBI, arXiv 2505.18644): a text model's own answers teach it to hear."""
