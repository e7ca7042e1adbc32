"""The figures that the article printed, and how others compare with them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LABELS = (5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9, 4, 0, 9, 1, 1)
"""Of the first 25 training images."""

EXAMPLE_PREDICTIONS = ((0.1, 0.2, 0.7), (0.3, 0.5, 0.2))
EXAMPLE_CLASSES = (0, 1)
EXAMPLE_COST = 1.4978661367769954
"""Nats; of the two predictions for the two true classes."""

EPOCHS = tuple(range(0, 1001, 100))
"""The epochs whose costs were printed, each from before that epoch's update."""

COSTS_FROM_SCRATCH = (
    *(2.302585, 0.055274, 0.026265, 0.017182, 0.012762, 0.010150),
    *(0.008425, 0.007202, 0.006290, 0.005582, 0.005018),
)
"""Nats, at EPOCHS."""

COSTS_BUILTIN = (
    *(2.318002, 0.062154, 0.028716, 0.018596, 0.013739, 0.010891),
    *(0.009021, 0.007699, 0.006715, 0.005955, 0.005349),
)
"""Nats, at EPOCHS; from starting weights that nobody can draw again, as the seed was not set."""

TEST_LABELS = (7, 2, 1, 0, 4, 1, 4, 9, 5, 9)
"""Of the first 10 test images."""

PREDICTIONS = (7, 3, 1, 0, 4, 1, 4, 1, 4, 7)
"""For the first 10 test images."""

PREDICTIONS_RIGHT = 6


@dataclass(frozen=True)
class Comparison:
    """Printed figures beside reproduced ones."""

    what: str
    published: Sequence[float]
    reproduced: Sequence[float] | np.ndarray

    @property
    def agrees(self) -> np.ndarray:
        """Which are equal once rounded to six decimals, as many as the article printed: bool [N]."""
        return np.round(self.published, 6) == np.round(self.reproduced, 6)


@dataclass(frozen=True)
class RangeComparison:
    """Printed figures beside the range of what different seeds give."""

    what: str
    published: Sequence[float]
    smallest: np.ndarray
    largest: np.ndarray

    @property
    def agrees(self) -> np.ndarray:
        """Which lie in the range, its ends included: bool [N]."""
        published = np.array(self.published)
        return (self.smallest <= published) & (published <= self.largest)


def verdict(comparison: Comparison | RangeComparison) -> str:
    """How many of the figures agree: `11 of 11: reproduced`."""
    agrees = comparison.agrees
    return f"{agrees.sum()} of {agrees.size}: {'reproduced' if agrees.all() else 'differs'}"


def origin(on_training: Comparison, on_test: Comparison) -> str:
    """What the printed costs from scratch were computed on, told from training on either kind of images."""
    counts = f"{on_test.agrees.sum()} of {on_test.agrees.size} agree"
    counts += f" on test images, {on_training.agrees.sum()} on training images"
    if on_test.agrees.all() and not on_training.agrees.all():
        return (
            f"The printed column was computed on test images: {counts}. The article's code reads training images, but "
            "its notebook still held a batch of test images from another cell when this one ran; so the column says "
            "nothing of the training that the code describes."
        )
    return f"With these parameters the printed column is not explained: {counts}."
