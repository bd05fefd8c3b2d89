"""Losses that two systems or more share."""
