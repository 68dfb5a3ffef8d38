"""Floor 2: waveform -> speech tokens (12.5 Hz, or 50, 25, 6.25), by a supervised VQ bottleneck in an ASR encoder."""
