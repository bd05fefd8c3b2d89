"""Photo -> where the object is: a prior without weights, or a promptable segmenter."""
