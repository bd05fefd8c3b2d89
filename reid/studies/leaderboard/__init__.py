"""Leaderboard: every system on one benchmark with fixed data, tracks, seeds and budgets, and one table."""
