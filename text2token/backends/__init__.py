"""Backends of speech generation: the built-in generation, vLLM and SGLang, behind one interface and in one table."""
