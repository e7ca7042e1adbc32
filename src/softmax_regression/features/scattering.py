"""The scattering transform of images: wavelets, modulus, wavelets again, low pass; every sum is one of whole numbers.

Bruna and Mallat, Invariant scattering convolution networks, IEEE PAMI 35 (2013), with two scales, eight angles and two
orders. Where a modulus of the coarser wavelet is taken, every second pixel of every second row is enough, as hardly any
of its spectrum lies above: three quarters of its work are never done.

Convolutions are products of matrices in float32, which holds every whole number up to 2^24. A map's pixels are whole
numbers up to 2^10, a wavelet's positive weights add up to 2^14 at most, so no partial sum goes beyond. Not torch's
convolution: which algorithm it takes is up to the library, and some (Winograd, Fourier) round.

Maps are laid out as [pixels, maps]: all images' values of one pixel lie side by side. So the rows that a filter covers
are a matrix as they stand in memory, and a convolution is a product with it, without a copy for each of its weights.
"""

import functools
import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.lib.stride_tricks import as_strided

from softmax_regression.base.errors import UserError
from softmax_regression.features import filters

STRIDE = 2**filters.SCALES
"""Pixels from one place where the transform is taken to the next."""
COEFFICIENTS = 1 + filters.SCALES * filters.ANGLES + filters.ANGLES**2
"""A place: the mean grey, two scales of eight angles, and each angle of the coarser scale after each of the finer."""
BAND = 7
"""Columns of an outcome that one product computes, at most: more meet more zeros, fewer are more calls."""
FIRST_UNIT, SECOND_UNIT = 2.0**-13, 2.0**-12
"""Of a first and a second modulus, by which the sums are multiplied; so they are 721 and 4,080 at most.

A sum is at most largest pixel × 2^14, a modulus √2 times that: √2 × 255 × 2^14 × 2^-13, and √2 × 721 × 2^14 × 2^-12."""
LEAST_FIRST = 2.0**15
"""Added to a first order before the second is divided by it: 1.1 % of the largest, so that nothing is made of noise."""
LARGEST = 2**16 - 1
"""Of a feature, so that the squares of 2^31 images add up in 64 bits."""
UNITS = 2.0**-4, 2.0**-6, 2.0**11
"""By which order 0, 1 and 2 are multiplied, so that they fill 16 bits; in MNIST, the second comes to 18 × 2^11."""


def reflect(index: np.ndarray, length: int) -> np.ndarray:
    """Where an index outside of 0…length − 1 lands if the line is mirrored at its ends, each end pixel coming twice."""
    index = index % (2 * length)
    return np.minimum(index, 2 * length - 1 - index)


@dataclass(frozen=True)
class Convolution:
    """Wavelets of one scale on maps of one size, and the modulus of what they give."""

    height: int
    width: int
    """Of the outcome."""
    pixels: np.ndarray
    """int64 [bands, rows, columns]: which pixels of the map are read, some of them twice."""
    weights: np.ndarray
    """float32 [2 · band · ANGLES, size · columns]: real and imaginary parts of a row of a band, from `size` rows."""
    stride: int

    @classmethod
    def plan(cls, height: int, width: int, scale: int, unit: float) -> Self:
        """For maps of height × width; sums are whole multiples of `unit`."""
        wavelets, stride = filters.wavelets(scale), 2**scale
        size = wavelets.shape[-1]
        rows, columns = -(-height // stride), -(-width // stride)
        bands = -(-columns // BAND)
        band = -(-columns // bands)
        before = (size - stride) // 2
        read_rows = reflect(np.arange((rows - 1) * stride + size) - before, height)
        starts = np.arange(bands)[:, None] * band * stride - before
        read_columns = reflect(starts + np.arange((band - 1) * stride + size), width)
        weights = np.zeros((2, band, filters.ANGLES, size, read_columns.shape[1]), np.float32)
        for place in range(band):
            weights[:, place, ..., place * stride : place * stride + size] = wavelets
        flat = weights.reshape(2 * band * filters.ANGLES, -1) * np.float32(unit)
        return cls(rows, columns, read_rows[None, :, None] * width + read_columns[:, None], flat, stride)

    def modulus(self, maps: np.ndarray) -> np.ndarray:
        """Whole float32 [height · width, ANGLES · n] for whole float32 maps [pixels, n]."""
        bands, _, columns = self.pixels.shape
        read = maps.take(self.pixels, axis=0)  # [bands, rows, columns, n]
        band_step, row_step, step, _ = read.strides
        size = self.weights.shape[1] // columns
        rows = as_strided(
            read,
            (bands, self.height, size * columns, maps.shape[1]),
            (band_step, row_step * self.stride, step, read.itemsize),
        )
        parts = (self.weights @ rows).reshape(bands, self.height, 2, -1, filters.ANGLES * maps.shape[1])
        # Each of these is rounded by itself, by IEEE 754; numpy's hypot and abs of complex numbers are the library's.
        np.square(parts, out=parts)
        squares = parts[:, :, 0]
        squares += parts[:, :, 1]
        np.sqrt(squares, out=squares)
        found = np.empty((self.height, bands, *squares.shape[2:]), np.float32)
        np.rint(squares.swapaxes(0, 1), out=found)
        return found.reshape(self.height, -1, found.shape[-1])[:, : self.width].reshape(-1, found.shape[-1])


def check_size(height: int, width: int) -> None:
    """Raises UserError where images of height × width are too small for a single place."""
    if min(height, width) < STRIDE:
        limits = f"{STRIDE}×{STRIDE} at least"
        raise UserError(f"images of {height}×{width} are too small for scattering, {limits}: set features to pixels")


@functools.cache
def low_pass(length: int, spacing: int) -> np.ndarray:
    """The Gaussian at every fourth pixel of a line: float32 [places, length], for numbers `spacing` pixels apart."""
    weights, stride = filters.gaussian(spacing), STRIDE // spacing
    places = -(-length // stride)
    matrix = np.zeros((places, length), np.float32)
    for place in range(places):
        read = np.arange(len(weights)) + place * stride - (len(weights) - stride) // 2
        np.add.at(matrix[place], reflect(read, length), weights)
    return matrix


@dataclass(frozen=True)
class Scattering:
    """The transform of images of one size."""

    height: int
    width: int
    fine: Convolution
    coarse: Convolution
    second: Convolution

    @classmethod
    @functools.cache
    def of(cls, height: int, width: int) -> Self:
        """For images of height × width; raises UserError where they are too small for a single place."""
        check_size(height, width)
        fine = Convolution.plan(height, width, 0, FIRST_UNIT)
        coarse = Convolution.plan(height, width, 1, FIRST_UNIT)
        return cls(height, width, fine, coarse, Convolution.plan(height, width, 1, SECOND_UNIT))

    def orders(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The plain transform of uint8 [N, height, width]: whole float32 below 2^24 of order 0, 1 and 2.

        Order 0 is [places, N], order 1 [places, scales, angles, N], order 2 [places, coarse angle, fine angle, N].
        """
        count, angles = len(images), filters.ANGLES
        maps = np.ascontiguousarray(images.reshape(count, -1).T).astype(np.float32)
        fine, coarse = self.fine.modulus(maps), self.coarse.modulus(maps)
        second = self.second.modulus(fine)
        first = np.stack([self._averaged(fine, 1), self._averaged(coarse, 2)], axis=1)
        places = len(first)
        return (
            self._averaged(maps, 1),
            first.reshape(places, filters.SCALES, angles, count),
            self._averaged(second, 2).reshape(places, angles, angles, count),
        )

    def _averaged(self, maps: np.ndarray, spacing: int) -> np.ndarray:
        """The low pass of maps [pixels, n], that lie `spacing` pixels apart: [places, n]."""
        rows, columns = -(-self.height // spacing), -(-self.width // spacing)
        down, across = low_pass(rows, spacing), low_pass(columns, spacing)
        lines = (down @ maps.reshape(rows, -1)).reshape(len(down), columns, -1)
        return (across @ lines).reshape(-1, maps.shape[1])

    def numbers(self, images: np.ndarray) -> np.ndarray:
        """The features before they are standardised: whole float32 [features, N], 0…65,535.

        Images are uint8 [N, height, width] or [N, height, width, 3]; each colour is transformed by itself. Features are
        ordered by colour, coefficient, row and column. The second order is divided by the first that it comes from
        (Andén and Mallat, Deep scattering spectrum, IEEE TSP 62, 2014): of 36,000 of MNIST's training images, each held
        out once, 322 are then taken for another digit, and 352 otherwise.
        """
        count, colours = len(images), math.prod(images.shape[3:])
        planes = images.reshape(*images.shape[:3], colours).transpose(3, 0, 1, 2).reshape(-1, *images.shape[1:3])
        zeroth, first, second = self.orders(planes)
        second /= (first[:, 0] + np.float32(LEAST_FIRST))[:, None]
        places = len(first)
        found = np.concatenate(
            [order.reshape(places, -1, colours, count) * np.float32(unit)
             for order, unit in zip((zeroth, first, second), UNITS, strict=True)], axis=1
        )  # fmt: skip
        np.rint(found, out=found)
        np.minimum(found, LARGEST, out=found)
        return found.transpose(2, 1, 0, 3).reshape(-1, count)
