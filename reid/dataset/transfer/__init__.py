"""A shard set as plain files for other tools."""
