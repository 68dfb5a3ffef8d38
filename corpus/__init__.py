"""Floor 1: audio, manifests, text, the built-in spoken corpus, and what every stage shares. No models live here."""
