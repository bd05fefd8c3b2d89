"""Writes the configuration that suits a data set, and names the commands that use it."""
