"""Multiple-choice evaluation of base models by likelihood: sets, log-probabilities of candidates, scoring rules."""
