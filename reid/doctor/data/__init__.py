"""The examination of a data set: every fault between a folder and a number, found before hours are spent."""
