"""The read-back evaluation of a text-to-token model: word errors, lengths, and the diversity of its tokens."""
