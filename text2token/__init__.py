"""Floor 4: text -> speech tokens in bulk, span sampling, and the interleaved corpus."""
