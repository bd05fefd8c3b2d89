"""Checkpoints of a run: how they are written, which are kept, and from which one a run goes on."""
