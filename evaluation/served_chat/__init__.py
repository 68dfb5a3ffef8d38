"""Load and latency tests of a served chatbot through its public Realtime protocol and its page."""
