"""Softmax regression as a reproducible pipeline; each folder is a room, whose first line says what is in it."""
