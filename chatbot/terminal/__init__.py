"""Dialogue in the terminal: screen, keyboard, microphone and loudspeaker."""
