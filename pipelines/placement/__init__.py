"""Where processes run: what they ask of the cluster, the wait for it, and their devices."""
