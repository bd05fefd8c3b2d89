"""Vectors by key: what is to be embedded, where vectors are kept, and how they are read."""
