"""Softmax regression as a reproducible pipeline: plain functions, called by the scripts in stages/."""
