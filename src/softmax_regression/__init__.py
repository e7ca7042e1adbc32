"""Softmax regression as a reproducible pipeline; each folder is a room, whose first line says what is in it."""

__version__ = "0.2.0"
"""Written into each model: another number stands for a training that computes otherwise."""
