"""The web page to talk to the chatbot: a client of our own Realtime WebSocket, without build step or outside assets."""
