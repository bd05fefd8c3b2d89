"""Generators of near-infrared and thermal images: computed without weights, or by an own U-Net."""
