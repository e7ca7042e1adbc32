"""The command `softmax`, and what is behind its parts; nothing imports it, but for the pages' tables."""
