"""The images in batches, in a fresh random order each epoch, also where they are more than the memory holds.

The order's guarantee: each image comes once an epoch, and up to PART_BYTES of images every order is equally likely.
More are read in parts of that size, each made of random blocks of consecutive images and then shuffled: a memory-mapped
file is read in long stretches, and neighbours in the file always fall into the same part of an epoch.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from softmax_regression.model import scale

PART_BYTES = 512 * 2**20
BLOCK_IMAGES = 4096
"""About 3 MB of MNIST a read."""


def batches(
    images: Tensor, labels: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of scaled pixels float32 [batch, pixels], valid until the next batch, and labels int64 [batch].

    For images uint8 [N, pixels] and labels int64 [N]; a batch that holds them all is not shuffled. The rows are
    gathered as bytes and scaled after: a float copy of all images is four times as large and no faster.
    """
    if batch_size >= len(labels):
        yield scale(images), labels
        return
    # The same memory for every batch: with fresh memory each time an epoch took 60 or 110 ms, as the allocator liked.
    gathered = images.new_empty(batch_size, images.shape[1])
    scaled = torch.empty_like(gathered, dtype=torch.float32)
    for part_images, part_labels in _parts(images, labels, batch_size, generator):
        for rows in torch.randperm(len(part_labels), generator=generator).to(labels.device).split(batch_size):
            # index_select, not images[rows]: 5 ms an epoch instead of 30 and more.
            batch = torch.index_select(part_images, 0, rows, out=gathered[: len(rows)])
            yield scale(batch, scaled[: len(rows)]), part_labels.index_select(0, rows)


def _parts(
    images: Tensor, labels: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """All images at once where they fit, else random blocks of them, copied into memory."""
    if images.nbytes <= PART_BYTES:
        yield images, labels
        return
    # Whole batches in every block but the last, so that no part ends with a batch cut short.
    block = batch_size * max(1, BLOCK_IMAGES // batch_size)
    image_blocks, label_blocks = images.split(block), labels.split(block)
    blocks_a_part = max(1, PART_BYTES // image_blocks[0].nbytes)
    for chosen in torch.randperm(len(image_blocks), generator=generator).split(blocks_a_part):
        yield (
            torch.cat([image_blocks[number] for number in chosen]),
            torch.cat([label_blocks[number] for number in chosen]),
        )
