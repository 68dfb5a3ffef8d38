"""The Realtime protocol: a spoken dialogue over one WebSocket, in OpenAI's generally available event set."""
