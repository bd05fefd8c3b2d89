"""Calibration of similarities: likelihood ratios, probabilities, and thresholds for a false-match rate."""
