"""The quality of captions, and statistics of a set's captions."""
