"""Generators of the object's mask: a prior without weights, or a promptable segmenter."""
