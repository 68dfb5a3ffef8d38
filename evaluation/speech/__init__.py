"""Quality of resynthesised speech: objective metrics, pitch, spectrograms, a page to listen to."""
