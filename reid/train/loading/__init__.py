"""Makes batches ahead of the training step, in processes or threads, and takes them to the device."""
