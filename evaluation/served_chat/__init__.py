"""Load and latency tests of a served chatbot through its public interfaces and its page."""
