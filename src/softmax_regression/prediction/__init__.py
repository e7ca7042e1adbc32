"""Anybody's pictures: read, made like the images that the model was trained on, and classified."""
