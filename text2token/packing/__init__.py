"""The packing of synthesised units into an interleaved LM corpus."""
