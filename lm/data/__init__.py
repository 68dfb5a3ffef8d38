"""LM documents and corpora: sample formats, loss masks, mixture, packing and Megatron datasets."""
