"""Reports about a set for people: statistics, previews, and the summary of a build."""
