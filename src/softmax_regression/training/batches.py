"""The images in batches, in a fresh random order each epoch, also where they are more than the memory holds.

The order's guarantee: each image comes once an epoch, and up to WHOLE_BYTES of images every order is equally likely.
More are read in parts of PART_BYTES, or of a batch where that is larger, each made of random blocks of consecutive
images and then shuffled: a memory-mapped file is read in long stretches, and neighbours in it mostly share a part.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from softmax_regression.model import exact
from softmax_regression.training.share import ALONE, Share

WHOLE_BYTES = 512 * 2**20
PART_BYTES = 64 * 2**20
"""A little more than MNIST; larger ones no cache holds (docs/speed.md)."""
BLOCK_IMAGES = 4096
"""About 3 MB of MNIST a read."""


class Batch(NamedTuple):
    """What a step works on."""

    chunks: Iterator[tuple[Tensor, Tensor]]
    """This worker's part, once: pixels 0…255 or features −128…127 [n, pixels], valid until the next one, and labels
    int64 [n]."""
    size: int
    """Of the whole batch."""


def batches(
    images: Tensor,
    labels: Tensor,
    batch_size: int,
    generator: torch.Generator,
    share: Share = ALONE,
    dtype: torch.dtype = torch.float64,
) -> Iterator[Batch]:
    """One epoch, for images uint8 [N, pixels] or features int8, and labels int64 [N]; the pixels come as `dtype`.

    The batches are the same for every worker; the chunks are of its share, of which alone it reads the images. A batch
    that holds all images is not shuffled. The rows are gathered as bytes and made floats after: a float copy of all
    images is eight times as large and no faster.
    """
    # The same memory for every chunk: what fresh memory takes is up to the allocator.
    gathered = images.new_empty(min(batch_size, exact.CHUNK_IMAGES), images.shape[1])
    converted = torch.empty_like(gathered, dtype=dtype)

    def chunks(part_images: Tensor, part_labels: Tensor, batch: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in batch.split(exact.CHUNK_IMAGES):
            # Not images[rows], which takes six times as long.
            torch.index_select(part_images, 0, rows, out=gathered[: len(rows)])
            yield converted[: len(rows)].copy_(gathered[: len(rows)]), part_labels.index_select(0, rows)

    for part_images, part_labels, part in _parts(images, labels, batch_size, generator, share):
        for rows, size in part:
            yield Batch(chunks(part_images, part_labels, rows), size)


def _parts(
    images: Tensor, labels: Tensor, batch_size: int, generator: torch.Generator, share: Share
) -> Iterator[tuple[Tensor, Tensor, list[tuple[Tensor, int]]]]:
    """Images, labels, and for each batch this worker's rows of them and the batch size.

    All images at once where they fit or make one batch, or where a batch fills a part; else a part at a time, of which
    the worker's share is copied into memory.
    """
    sequence = torch.arange(len(labels))
    batches_a_part = 0
    if batch_size < len(labels) and images.nbytes <= WHOLE_BYTES:
        sequence = torch.randperm(len(labels), generator=generator)
    elif batch_size < len(labels):
        blocks = sequence.split(BLOCK_IMAGES)
        sequence = torch.cat([blocks[number] for number in torch.randperm(len(blocks), generator=generator)])
        batches_a_part = PART_BYTES // (batch_size * images.shape[1])
    if batches_a_part < 2:
        sequence = sequence.to(labels.device)
        yield images, labels, [(share.rows(batch), len(batch)) for batch in sequence.split(batch_size)]
        return
    # The same memory for every part: taking fresh memory takes longer than reading into it.
    memory = images.new_empty(batches_a_part * batch_size, images.shape[1])
    for part in sequence.split(batches_a_part * batch_size):
        order = torch.randperm(len(part), generator=generator).split(batch_size)
        # A worker has a stretch of the part and reads no more; of each batch it takes the images in there.
        start, stop = (rank * len(part) // share.workers for rank in (share.rank, share.rank + 1))
        own = order if share.workers == 1 else [batch[(batch >= start) & (batch < stop)] - start for batch in order]
        read = part[start:stop].to(labels.device)
        rows = [(mine.to(labels.device), len(batch)) for mine, batch in zip(own, order, strict=True)]
        yield torch.index_select(images, 0, read, out=memory[: len(read)]), labels.index_select(0, read), rows
