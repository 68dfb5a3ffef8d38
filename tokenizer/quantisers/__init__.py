"""Vector quantisers: the bottleneck between the two encoders."""
