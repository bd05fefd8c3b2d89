"""Photo -> sketch: drawn without weights, or by an edge network."""
