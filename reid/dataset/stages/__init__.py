"""The stages that a shard goes through: read, generate, write, and all of them in one process."""
