"""Floor 3: vocabulary, sample formats, mixture, the Megatron language model and its trainer. Knows no audio."""
