"""Ray and nothing else: each module builds the Ray objects of one stage from a config, and runs them."""
