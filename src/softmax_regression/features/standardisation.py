"""Features as bytes: rows of int8 that are trained on as pixels are, computed a few images at a time."""

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import threadpoolctl

from softmax_regression.base import tensor_files
from softmax_regression.base.errors import UserError
from softmax_regression.features.scattering import COEFFICIENTS, LARGEST, STRIDE, Scattering, check_size

STEPS = 64
"""Bytes a standard deviation has, the mean being 0; so what is 2 deviations from it or further is cut off.

With fewer, and so less cut off, the accuracy on the held-out images was the same, but not at the learning rate that is
good for pixels. And with the mean at 64 of an unsigned byte, what all features have in common would be the steepest
direction of the cost by far, and allow a twelfth of the learning rate only (docs/features.md).
"""
FITTED_IMAGES = 10_000
"""Of which the means and deviations are, at most, spread evenly over the training images: with all 54,000 of MNIST the
accuracy on the held-out ones was the same, and the features took 1.7 times as long."""
CHUNK_PIXELS = 16 * 28 * 28
"""Of the images that a thread computes with at once: 16 of MNIST, for which the arrays fit the processor's cache."""
PART = 64
"""Chunks that are computed ahead, so that memory holds no more, however many images there are."""


@dataclass(frozen=True)
class Standardisation:
    """What was found of each feature on the training images."""

    means: np.ndarray
    """int64 [features]."""
    deviations: np.ndarray
    """int64 [features], 0 for a feature that is nearly always the same."""

    @classmethod
    def fit(cls, images: np.ndarray) -> Self:
        """From uint8 images [N > 0, height, width] or [N > 0, height, width, 3].

        Sums of whole numbers: how the images are cut up makes no difference. Raises
        UserError where the images are too small.
        """
        fitted = images[:: -(-len(images) // FITTED_IMAGES)]
        total = np.zeros((2, feature_count(images.shape[1:])), np.int64)
        for sums in _of_chunks(_sums, fitted):
            total += sums
        # In whole numbers of Python, for isqrt, which no float's rounding touches.
        count, found = len(fitted), []
        for sum_, squares in zip(*total.tolist(), strict=True):
            found.append(((2 * sum_ + count) // (2 * count), math.isqrt((count * squares - sum_ * sum_) // count**2)))
        means, deviations = np.array(found, np.int64).T
        return cls(means, deviations)

    @classmethod
    def of(cls, description: Mapping[str, Any], image_size: Sequence[int]) -> Self:
        """From what `description` gives; raises UserError where it is none, or not for images of that size."""
        count = feature_count(image_size)
        if (
            not isinstance(description, dict)
            or description.keys() != {"means", "deviations"}
            or not all(isinstance(numbers, list) and len(numbers) == count for numbers in description.values())
            or not all(
                type(number) is int and 0 <= number <= LARGEST for each in description.values() for number in each
            )
        ):
            raise UserError(f"means and deviations must be {count} whole numbers each, from 0 to {LARGEST}")
        return cls(**{name: np.array(numbers, np.int64) for name, numbers in description.items()})

    @property
    def description(self) -> dict[str, list[int]]:
        """For a file."""
        return {name: numbers.tolist() for name, numbers in vars(self).items()}

    def chunks(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """The features of images, a few at a time and in their order: int8 [n, features].

        Raises UserError where the images are not of the size that the means are of.
        """
        if (found := feature_count(images.shape[1:])) != len(self.means):
            raise UserError(f"images of {found} features, but there are means of {len(self.means)}")
        return _of_chunks(self._levels, images)

    def write(self, path: Path, images: np.ndarray, data: str) -> None:
        """Write the features of images, as they come, and what makes them; `data` is the MD5 of the images' file.

        Raises UserError where the disk refuses.
        """
        shape = (len(images), len(self.means))
        description = {"standardisation": self.description, "data": data}
        tensor_files.write_in_chunks(path, "features", shape, self.chunks(images), description)

    def transform(self, images: np.ndarray) -> np.ndarray:
        """As `chunks`, in one: int8 [N, features]."""
        return np.concatenate([np.empty((0, len(self.means)), np.int8), *self.chunks(images)])

    def _levels(self, images: np.ndarray) -> np.ndarray:
        levels = _numbers(images) - self.means[:, None]
        levels *= self._steps[:, None]
        np.rint(levels, out=levels)
        return np.ascontiguousarray(levels.clip(-128, 127, out=levels).astype(np.int8).T)

    @property
    def _steps(self) -> np.ndarray:
        """What a feature's difference from its mean is multiplied by."""
        return np.divide(STEPS, self.deviations, out=np.zeros(len(self.deviations)), where=self.deviations > 0)


def feature_count(image_size: Sequence[int]) -> int:
    """How many features an image of height × width (× 3) has; raises UserError where it is too small for any."""
    height, width, *colours = image_size
    check_size(height, width)  # and not what the transform plans for it, as the size may be anything that a file says
    return math.prod(colours) * COEFFICIENTS * -(-height // STRIDE) * -(-width // STRIDE)


def _numbers(images: np.ndarray) -> np.ndarray:
    return Scattering.of(*images.shape[1:3]).numbers(images)


def _sums(images: np.ndarray) -> np.ndarray:
    """Of the numbers and of their squares, int64 [2, features]; of 16 and 32 bits, so float64 adds 2^21 exactly."""
    numbers = _numbers(images).astype(np.float64)
    return np.stack([numbers.sum(1), np.square(numbers).sum(1)]).astype(np.int64)


def _of_chunks(function: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> Iterator[np.ndarray]:
    """What the function makes of each few images, in their order, computed on all processors.

    Each thread computes its chunk from beginning to end and waits for no other, as threads within a product do.
    """
    size = max(1, CHUNK_PIXELS // math.prod(images.shape[1:]))
    starts = range(0, len(images), size)
    if len(starts) == 1:  # to start threads and to ask BLAS for its own takes longer
        yield function(images)
        return
    with threadpoolctl.threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(_threads()) as pool:
        for first in range(0, len(starts), PART):
            yield from pool.map(lambda start: function(images[start : start + size]), starts[first : first + PART])


def _threads() -> int:
    """As many as OMP_NUM_THREADS says, be it as `2,1`, or as there are processors; no byte depends on it."""
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(said) if said.isdecimal() and int(said) > 0 else os.cpu_count() or 1
