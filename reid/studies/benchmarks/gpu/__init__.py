"""What a GPU computes and how fast, in a few minutes, without Ray, network or data."""
