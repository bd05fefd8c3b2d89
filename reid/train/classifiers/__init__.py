"""Training with classifiers whose rows are split over the ranks: placement, clipping, state."""
