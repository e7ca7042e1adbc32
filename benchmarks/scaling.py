"""What more workers would do, computed from what two did, and what larger batches cost: writes docs/scaling.md."""

import math
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path

import growth
import torch

from softmax_regression.base import files
from softmax_regression.data.images import ImageSet
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.tools import markdown
from softmax_regression.training.loop import train
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.state import TrainingState

IMAGES = 6_000_000
WORKERS = (1, 2, 8, 64, 512)
BATCHES = (256, 2048, 16384, 65536, 524288)
MEASURED, REFERENCE = growth.BATCHES, 2048
ACCURACY_BATCHES = (256, 1024, 4096, 16384)
SEEDS = 3

TEXT = """# More workers: what it brings

Computed by `make bench` from what one and two workers with one thread each took on {images:,} images.

A step of batch size B costs a worker of W its share of the images, and one exchange of the gradient, 63 kB: the first
worker takes in those of the W − 1 others, one after the other, and passes the sum on along a tree of ⌈log₂ W⌉ levels.
With t for an image and h for a message, an epoch over N images takes

    N/W · t  +  N/B · (W − 1 + ⌈log₂ W⌉) · h

Measured at batch size {reference:,}: t = {t:.2f} µs, and h = {h:.0f} µs, half of what an exchange added to a step of
two workers. An exchange on its own takes them {sum_us:.0f} µs over the loopback of one machine; in a step they also
wait for each other. Between machines the network's latency comes on top.

Seconds an epoch, and how many times as fast as one worker at the same batch size:

{table}

Measured with two workers: {measured}.

More workers stop paying where the exchange takes as long as the share, at about W = √(B·t / h):

{limits}

The exchange is bound by latency, not by its 63 kB: a batch eight times as large needs an eighth of the exchanges.
So with more workers the batch has to grow.

## What a larger batch costs

Fewer steps in the same 30 epochs, on MNIST: the held-out cost and accuracy, medians of {seeds} seeds, with the better
of two usual learning rates, 0.1 · √k and 0.1 · k for a batch k times as large as 256.

{accuracies}

MNIST's 54,000 images are 211 steps an epoch at batch size 256 and four at 16,384. With 6 million images there are as
many steps at batch size 28,000 as MNIST has at 256.
"""


def accuracy(training: ImageSet) -> Iterator[tuple[str, float]]:
    """The held-out cost and accuracy after 30 epochs at each batch size."""
    held_in, validation = training.hold_out(0.1)
    for batch_size in ACCURACY_BATCHES:
        outcomes = []
        for factor in (math.sqrt(batch_size / 256), batch_size / 256):
            recipe = Recipe("scratch", 0.1 * factor, "linear", 30, batch_size, momentum=0.9, weight_decay=0.0)
            last = []
            for seed in range(SEEDS):
                generator = torch.Generator().manual_seed(seed)
                state = TrainingState.start(SoftmaxRegression.random(held_in.model_shape, 0.01, generator), generator)
                *_, record = train(state, held_in, validation, recipe)
                last.append((record.valid_cost, record.valid_accuracy))
            outcomes.append([*map(statistics.median, zip(*last, strict=True)), recipe.lr])
        cost, share, lr = min(outcomes)
        yield f"batch_{batch_size}_valid_cost", cost
        yield f"batch_{batch_size}_valid_accuracy", share
        yield f"batch_{batch_size}_lr", lr


def write(results: Mapping[str, float], path: Path) -> None:
    """Write the page."""
    alone, together = (results[f"workers_{count}_epoch_{REFERENCE}_s"] for count in (1, 2))
    image_s = alone / IMAGES
    hop_s = (together - alone / 2) / (IMAGES / REFERENCE) / 2

    def epoch(workers: int, batch: int) -> float:
        messages = workers - 1 + math.ceil(math.log2(workers))
        return IMAGES / workers * image_s + IMAGES / batch * messages * hop_s

    def row(batch: int) -> list[str]:
        seconds = [epoch(count, batch) for count in WORKERS]
        return [f"{batch:,}", *(f"{each:.2f} ({seconds[0] / each:.1f}×)" for each in seconds)]

    limits = [(f"{batch:,}", f"{max(1, math.sqrt(batch * image_s / hop_s)):.0f}") for batch in BATCHES]
    accuracies = [
        (
            f"{batch:,}",
            f"{results[f'batch_{batch}_lr']:.1f}",
            f"{results[f'batch_{batch}_valid_cost']:.4f}",
            f"{results[f'batch_{batch}_valid_accuracy']:.4f}",
        )
        for batch in ACCURACY_BATCHES
    ]
    text = TEXT.format(
        images=IMAGES,
        t=1e6 * image_s,
        h=1e6 * hop_s,
        reference=REFERENCE,
        sum_us=results["workers_2_sum_us"],
        measured=", ".join(f"{results[f'workers_2_speedup_{batch}']:.2f}× at {batch:,}" for batch in MEASURED),
        seeds=SEEDS,
        table=markdown.table(("batch size", *(f"W = {count}" for count in WORKERS)), map(row, BATCHES)),
        limits=markdown.table(("batch size", "workers"), limits),
        accuracies=markdown.table(("batch size", "lr", "held-out cost", "held-out accuracy"), accuracies),
    )
    with files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
