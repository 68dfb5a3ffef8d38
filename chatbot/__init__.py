"""Floor 5: spoken dialogues: data, prompts, and the session that hears, thinks and speaks."""
