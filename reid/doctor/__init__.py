"""What may be wrong with a data set or a machine, found before hours are spent on it."""
