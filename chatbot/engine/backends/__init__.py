"""Language model backends of the engine: built-in batched generation, or an endpoint of vLLM or SGLang."""
