"""Spoken instructions of our own, in SpeechInstructBench's layout: requests, speaking conditions, files."""
