"""The scattering transform's filters, in whole numbers: Morlet wavelets at two scales and eight angles, and a Gaussian.

Shapes and constants are kymatio's (Andreux et al., JMLR 21, 2020). Every machine gets the same weights: they are made
by +, −, × and ÷, one number at a time, by an exp and a cosine made of these, and by math.fsum. Nor is any so near the
middle between two whole numbers that a last digit would matter (tests/features/test_filters.py).
"""

import functools
import itertools
import math

import numpy as np

from softmax_regression.model import exact

ANGLES = 8
SCALES = 2
FREQUENCY = 0.75 * np.pi
"""Of the finer wavelet, in radians a pixel; halved from scale to scale."""
DEVIATION = 0.8
"""Of the finer wavelet's envelope along the wave, in pixels; doubled from scale to scale."""
SLANT = 4 / ANGLES
"""The envelope's width along the wave, by its width across."""
SIZES = (7, 12)
"""Pixels of a wavelet's side; with 9 and 16 the validation accuracy was the same, the time 1.3 times as long."""
POSITIVE_SUM = 2**14
"""Of a wavelet's positive weights, at most; the negative ones take away as much."""
GAUSSIAN_SUM = 2**6
"""Of the weights along one axis."""

COSINE_TERMS = [(-1) ** k / math.factorial(2 * k) for k in range(15, -1, -1)]


def cosine(x: np.ndarray) -> np.ndarray:
    """Of float64 up to 100, to 1e-13: the power series of what is left of whole turns."""
    turns = np.rint(x / (2 * np.pi))
    return np.polyval(COSINE_TERMS, np.square(x - turns * (2 * np.pi)))


def coordinates(size: int) -> np.ndarray:
    """Where the weights along one axis lie, float64 [size], 0 being the filter's middle: 0 or ½ is the nearest."""
    return np.arange(size) - (size - 1) / 2


def morlet(scale: int, angle: int, size: int) -> np.ndarray:
    """Real and imaginary part of a Morlet wavelet, float64 [2, size, size], its envelope being 1 in the middle.

    A plane wave at `angle` eighths of half a turn under a Gaussian, less so much of that Gaussian that the sum is 0
    (Bruna and Mallat, IEEE PAMI 35, 2013, section 2.1).
    """
    y, x = np.meshgrid(coordinates(size), coordinates(size), indexing="ij")
    turn = np.array([0, np.pi / 2]) - angle * np.pi / ANGLES
    (cos, sin), deviation = cosine(turn), DEVIATION * 2**scale
    along, across = x * cos + y * sin, y * cos - x * sin
    envelope = exact.exp((along * along + SLANT**2 * (across * across)) * (-0.5 / deviation**2))
    phase = along * (FREQUENCY / 2**scale)
    wave = np.stack([cosine(phase), cosine(phase - np.pi / 2)]) * envelope
    wave[0] -= envelope * (math.fsum(wave[0].flat) / math.fsum(envelope.flat))
    return wave


@functools.cache
def wavelets(scale: int) -> np.ndarray:
    """Of every angle, in whole numbers: float32 [2, ANGLES, size, size], real parts before imaginary ones.

    Each part's weights add up to 0, so that an even area gives 0, and the positive ones to POSITIVE_SUM at most.
    """
    waves = [morlet(scale, angle, SIZES[scale]) for angle in range(ANGLES)]
    return np.stack([_whole_numbers(wave) for wave in waves], axis=1).astype(np.float32)


def _whole_numbers(wave: np.ndarray) -> np.ndarray:
    """The wave at the largest size at which its rounded weights add up to 0.

    A remainder that is put on single weights instead would be put on others in the turned wavelet.
    """
    positive = max(math.fsum(part[part > 0]) for part in wave)
    for wanted in itertools.count(POSITIVE_SUM, -1):
        weights = np.rint(wave * (wanted / positive))
        if not weights.sum((1, 2)).any() and weights.clip(0).sum((1, 2)).max() <= POSITIVE_SUM:
            return weights
    raise AssertionError  # at 0 every weight is


@functools.cache
def gaussian(spacing: int) -> np.ndarray:
    """The low pass along one axis, for numbers `spacing` pixels apart, 1 or 2: float32, their sum GAUSSIAN_SUM.

    Weights further from the middle would be rounded to 0.
    """
    x = coordinates(8 // spacing) * spacing
    heights = exact.exp(x * x * (-0.5 / (DEVIATION * 2 ** (SCALES - 1)) ** 2))
    weights = np.rint(heights * (GAUSSIAN_SUM / math.fsum(heights)))
    weights[len(x) // 2 - 1 : len(x) // 2 + 1] += (GAUSSIAN_SUM - weights.sum()) / 2
    return weights.astype(np.float32)
