"""Photo -> near-infrared or thermal: computed without weights, or by a U-Net of one's own."""
