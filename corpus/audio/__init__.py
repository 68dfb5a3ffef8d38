"""Waveforms and log-mel spectrograms, frame-rate arithmetic, noise and room simulation."""
