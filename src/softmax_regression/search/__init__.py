"""Many settings in one pass over the images: each of them gets the bytes of a training of its own."""
