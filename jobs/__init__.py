"""Entry points, one verb a file: parse, call, print, exit code. Laptop and `ray job submit` alike."""
