"""A shard set as plain files that other tools read."""
