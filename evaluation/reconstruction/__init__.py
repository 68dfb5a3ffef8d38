"""Speech made again from its tokens, measured on any manifest: for a tokenizer, and for a decoder."""
