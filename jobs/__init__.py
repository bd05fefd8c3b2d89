"""Entry points, one verb a file: parse, call, print, exit code. The same on a laptop and by `ray job submit`."""
