"""What a set holds, for people: statistics, previews, and what a build tells at its end."""
