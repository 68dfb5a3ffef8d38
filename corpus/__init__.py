"""Floor 1: speech and text as data: audio, text processing, manifests, token files, the built-in spoken world."""
