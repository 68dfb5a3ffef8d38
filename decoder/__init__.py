"""Floor 3: speech tokens -> mel by conditional flow matching -> waveform. Knows no text."""
