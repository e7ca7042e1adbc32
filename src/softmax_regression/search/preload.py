"""Imported by the process from which those are forked that train (processes.py), and by no other."""

import atexit
import os

import softmax_regression.search.turns  # noqa: F401 (so that they need not wait for torch)

# Else it would end 0.7 s after the search, as torch takes down what it has set up, and so would who reads its output.
atexit.register(os._exit, 0)
