"""What a training writes while it runs: the metrics table, TensorBoard, and trackers by setting."""
