"""The `train:` section: one file a subject."""
