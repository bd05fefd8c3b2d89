"""The metrics of runs: the table in a run folder, what a run's state is, and pages of curves."""
