"""Speech encoders: audio to continuous vectors, for language models that read speech as it is."""
