"""Text processing: words, normalisation, spoken form of numbers and signs, parts that cannot be spoken."""
