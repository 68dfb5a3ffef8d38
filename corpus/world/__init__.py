"""The built-in spoken world: a closed set of facts and stories, spoken by open synthesisers."""
