"""Training on Ray Train, or in this process."""
