"""The engine of a spoken chatbot: conversations that listen, generate and speak on shared models."""
