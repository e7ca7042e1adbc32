"""Features: a fixed transform that turns each image into a row of bytes, with nothing learned in it."""
