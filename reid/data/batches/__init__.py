"""Shards to training batches: streaming, samplers, collation, transforms and tokens."""
