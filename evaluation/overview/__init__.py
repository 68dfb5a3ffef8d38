"""Overview of scores: all benchmarks on one page, published rows for comparison, each cell linked to its stamp."""
