"""Finished runs: their folder, the loaded embedder, and their description."""
