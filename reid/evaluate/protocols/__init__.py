"""Protocols at work: who asks, what can be found, and which pairs do not count."""
