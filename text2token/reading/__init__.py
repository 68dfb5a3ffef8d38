"""Reading of texts' spans aloud, as audio: voices of synthesisers, of an endpoint, of text2token and a decoder."""
