"""What a similarity means: likelihood ratios, probabilities, and thresholds for a false-match rate."""
