"""Encoder backbones, each cut in two by the quantiser, with the mappings of published weights onto them."""
