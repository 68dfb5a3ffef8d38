"""The HTTP server: OpenAI-compatible routes over one engine, behind one gate of keys and limits."""
