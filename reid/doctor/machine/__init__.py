"""The examination of a machine: everything that a verb needs before it can work."""
