"""Tasks over spoken content: their prompts, which of them are held out, and references by rule."""
