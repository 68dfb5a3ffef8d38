"""Floor 2: waveform -> 12.5 Hz speech tokens, by a supervised VQ bottleneck in an ASR encoder."""
