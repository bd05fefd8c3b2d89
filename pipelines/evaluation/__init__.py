"""Evaluate a run: what is measured, embedded, ranked and shown."""
