"""What a model is worth: figures of merit, the file of predictions, pictures."""
