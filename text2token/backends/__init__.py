"""What continues prompts in the bulk synthesis: the built-in generation, vLLM or SGLang, all as `engine.Backend`."""
