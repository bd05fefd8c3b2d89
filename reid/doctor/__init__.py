"""Examines a data set or a machine for faults before a long run."""
