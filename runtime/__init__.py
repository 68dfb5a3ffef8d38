"""Floor 0: configuration, stages, artefacts, the optimisation loop and bulk jobs. Knows no speech and no text."""
