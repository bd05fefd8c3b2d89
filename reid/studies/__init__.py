"""Studies of ourselves: ladders compare configurations, benchmarks compare code."""
