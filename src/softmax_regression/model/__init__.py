"""The model: logits, softmax and cross-entropy, and the arithmetic they stand on."""
