"""Gradient descent: steps, batches, the loop; checkpoints, workers, and what is seen of them."""
