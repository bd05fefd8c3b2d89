"""Parts of the training loop: numbers of steps, gradients, when checkpoints are due, the time left."""
