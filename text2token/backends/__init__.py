"""Engines of the bulk synthesis: the built-in generation, vLLM or SGLang, all as `engine.SpeechBackend`."""
