"""Parquet shards: the schema of a sample, picture-free statistics, the manifest, and the set itself."""
