"""Training of the decoder and the vocoder: data, runs, distillation."""
