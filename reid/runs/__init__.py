"""Finished runs: their folder, the loaded embedder, what they are made of."""
