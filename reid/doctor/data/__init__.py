"""The examination of a data set, from its folder to its metrics."""
