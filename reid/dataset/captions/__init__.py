"""Whether captions are fit to train with, and what a set's captions are like."""
