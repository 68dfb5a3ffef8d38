"""Floor 5: independent judges and benchmarks."""
