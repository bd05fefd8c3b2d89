"""The examination of a machine: everything that must be in place before a verb can work."""
