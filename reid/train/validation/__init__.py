"""Validation on held-out identities during a training, and the calibration at its end."""
