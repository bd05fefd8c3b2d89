"""The stages of a shard: read, generate, write, and all of them in one process."""
