"""Arithmetic whose sums are never rounded, so that their order makes no difference (docs/exact.md).

For numpy arrays and torch tensors of float64 alike. A sum of whole numbers, in whatever unit, is exact in float64 as
long as it needs no more than 53 bits; so what enters a sum is rounded to a grid, a unit, that leaves it as many.
Everything else is done element by element with operations that IEEE 754 rounds the same on every machine: +, −, ×, ÷. A
product and a sum are calls of their own, as one call may fuse them, and round once instead of twice.
"""

import functools
import timeit
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import threadpoolctl

from softmax_regression.base.errors import UserError

Array = Any
"""numpy.ndarray or torch.Tensor."""

BITS = 53
"""Of a float64's significand."""
PIXEL_BITS = 8
LEAST_BITS = 20
"""That must be left for weights or errors beside the pixels' and the number of terms; 1e-6 of the largest."""
LARGEST_COST_BITS = 20
"""Costs up to 2^20, a million nats, are summed; a model beyond has diverged."""
CHUNK_IMAGES = 256
"""Computed with at once; as float64 1.6 MB of MNIST, which the processor's cache holds (docs/speed.md)."""
LARGEST_WEIGHT = 2.0**127
"""What a saved float32 can hold."""

NEAREST = 1.5 * 2.0**52
"""Added, it leaves a number's nearest whole one in the last bits of the significand."""
LOG2_E = 1.4426950408889634
LN_2_HIGH, LN_2_LOW = 2977044472 / 2**32, -4.2009150726810846e-11
"""Their sum is ln 2; the first has 32 bits, so that its product with a small whole number is exact."""
EXP_TERMS = (1 / 39916800, 1 / 3628800, 1 / 362880, 1 / 40320, 1 / 5040, 1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0)
"""1/k! from k = 11 down."""
LOG_TERMS = (2 / 19, 2 / 17, 2 / 15, 2 / 13, 2 / 11, 2 / 9, 2 / 7, 2 / 5, 2 / 3, 2.0)
"""2/(2k + 1) from k = 9 down."""
ROOT_HALF_BITS = 0x3FE6A09E667F3BCD
"""√½ as float64, by its bits."""


def by_numpy(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let numpy compute for tensors on the CPU too: for arrays this small its calls take half the time of torch's."""

    @functools.wraps(function)
    def computed(first: Array, *others: Any) -> Any:
        if isinstance(first, np.ndarray) or first.device.type != "cpu":
            return function(first, *others)
        import torch  # here, so that evaluate need not wait for it

        with np.errstate(all="ignore"):  # as torch does; who looks at the cost sees that it is not finite
            found = function(first.numpy(), *others)
        return tuple(map(torch.from_numpy, found)) if isinstance(found, tuple) else torch.from_numpy(np.asarray(found))

    return computed


def bits_left(terms: int, what: str) -> int:
    """How many bits the other factor may have in a sum of `terms` products with pixels.

    Raises UserError where they are too few; `what` says what there are too many of.
    """
    bits = BITS - PIXEL_BITS - (terms - 1).bit_length()
    if bits < LEAST_BITS:
        most = 2 ** (BITS - PIXEL_BITS - LEAST_BITS)
        raise UserError(f"{terms} {what}: more than {most}, for which a sum over them would be rounded")
    return bits


@by_numpy
def to_grid(values: Array, unit: Array | float) -> Array:
    """Values rounded to the nearest multiples of a power of two, of which they may be 2^51 at most."""
    nearest = unit * NEAREST
    on_grid = values + nearest
    on_grid -= nearest
    return on_grid


def product(left: Array, right: Array) -> Array:
    """The matrix product; on the CPU by numpy's library or torch's, the faster one, since the bits are the same."""
    if isinstance(left, np.ndarray) or left.device.type != "cpu" or not _numpy_multiplies_faster():
        return left @ right
    import torch

    return torch.from_numpy(left.numpy() @ right.numpy())


@functools.cache
def _numpy_multiplies_faster() -> bool:
    """Tried once, on the two products of a step over 256 images of MNIST, and with torch's number of threads.

    With as many as numpy takes by itself, an epoch beside busy cores took ten times as long.
    """
    import torch

    threadpoolctl.threadpool_limits(torch.get_num_threads(), user_api="blas")

    def seconds(weight: Array, error: Array, pixels: Array) -> float:
        return min(timeit.repeat(lambda: (weight @ pixels.T, error @ pixels), number=1, repeat=20))

    arrays = np.ones((10, 784)), np.ones((10, 256)), np.ones((256, 784))
    return seconds(*arrays) < seconds(*map(torch.from_numpy, arrays))


def logits(weight: Array, bias: Array, pixels: Array) -> Array:
    """Logits = pixels @ weightᵀ / 255 + bias: float64 [(models,) N, classes].

    Pixels are whole numbers 0…255, or features −128…127, float64 [N, pixels]; weight is [(models,) classes, pixels],
    bias [(models,) classes].
    """
    return logits_on_grid(weights_on_grid(weight), bias, pixels)


def logits_on_grid(weight: Array, bias: Array, pixels: Array) -> Array:
    """As `logits`, for weights that are on their grid already: of one image that takes half the time."""
    rows = product(weight, pixels.T)
    rows *= 1 / 255
    rows += bias[..., None]
    return rows.swapaxes(-1, -2)


@by_numpy
def weights_on_grid(weight: Array) -> Array:
    """Weights rounded to a grid on which the sum over an image's pixels is exact. The largest of each model decides."""
    library = _library(weight)
    bits = bits_left(weight.shape[-1], "pixels in an image")
    largest = library.amax(weight, axis=(-2, -1), keepdims=True)
    largest = library.maximum(largest, -library.amin(weight, axis=(-2, -1), keepdims=True))
    # A number's exponent stands in the bits 52 to 62; the largest weight is below the next power of two.
    exponent = (largest.view(library.int64) >> 52).clip(123, 1923)
    return to_grid(weight, ((exponent + 1 - bits) << 52).view(library.float64))


@by_numpy
def log_softmax(logits: Array) -> tuple[Array, Array]:
    """Logarithm of the softmax over the last dimension, and the softmax itself, float64.

    Subtracting the largest logit first changes nothing in exact arithmetic and keeps exp from overflowing (Goodfellow,
    Bengio, Courville, Deep Learning, 4.1).
    """
    shifted, exponentials, total = _exponentials(logits)
    shifted -= log(total)
    exponentials /= total
    return shifted, exponentials


def softmax(logits: np.ndarray) -> np.ndarray:
    """The second of what `log_softmax` gives, without computing the first."""
    _, exponentials, total = _exponentials(logits)
    exponentials /= total
    return exponentials


def _exponentials(logits: Array) -> tuple[Array, Array, Array]:
    shifted = logits - _library(logits).amax(logits, axis=-1, keepdims=True)
    # Exponentials are 1 at most, and so many bits leave room for the sum of as many as there are classes.
    exponentials = to_grid(exp(shifted), 2.0 ** -(BITS - 2 - (logits.shape[-1] - 1).bit_length()))
    return shifted, exponentials, exponentials.sum(-1)[..., None]


def predict(
    weight: np.ndarray, bias: np.ndarray, images: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a model of any floats says of uint8 rows [N, pixels] or int8 features, whose classes are labels int64 [N].

    The most probable class int64 [N], its probability float64 [N], and the cost in nats float64 [N].
    """
    weight, bias, parts = weights_on_grid(weight.astype(np.float64)), bias.astype(np.float64), []
    for start in range(0, len(images), CHUNK_IMAGES):
        rows, classes = images[start : start + CHUNK_IMAGES], labels[start : start + CHUNK_IMAGES]
        log_p, p = log_softmax(logits_on_grid(weight, bias, rows.astype(np.float64)))
        parts.append((p.argmax(-1), p.max(-1), -log_p[np.arange(len(rows)), classes]))
    predicted, probability, costs = map(np.concatenate, zip(*parts, strict=True))
    return predicted, probability, costs


@by_numpy
def sum_costs(costs: Array, count: int) -> Array:
    """The sum over the last dimension, of costs that are `count` at most in all; not finite where one is too large.

    In two parts, [..., 2], each of them exact: multiples of a unit, and what is left of the costs, in multiples of one
    that is finer by as many bits. So parts can be added up in any order, and then with each other.
    """
    library = _library(costs)
    bits = BITS - 2 - (count - 1).bit_length()
    kept = library.where(costs < 2.0**LARGEST_COST_BITS, costs, np.inf)
    high = to_grid(kept, 2.0 ** (LARGEST_COST_BITS - bits))
    low = to_grid(kept - high, 2.0 ** (LARGEST_COST_BITS - 2 * bits))
    return library.stack([high.sum(-1), low.sum(-1)], -1)


def exp(x: Array) -> Array:
    """e^x for x ≤ 0, to 1e-14 of it; from −40 down e^−40.

    x = n · ln 2 + r with a whole n gives 2^n, set by its bits, times the series of e^r, in Horner's form.
    """
    library = _library(x)
    x = x.clip(-40.0, None)
    whole = x * LOG2_E
    whole += NEAREST
    power = ((whole.view(library.int64) + 1023) << 52).view(library.float64)
    whole -= NEAREST
    rest = x - whole * LN_2_HIGH
    rest -= whole * LN_2_LOW
    series = _horner(EXP_TERMS, rest)
    series *= power
    return series


def log(x: Array) -> Array:
    """The natural logarithm of normal x > 0, to 5e-16.

    x = 2^n · m with m between √½ and √2 gives n · ln 2 + ln m, and ln m = 2 artanh z with z = (m − 1)/(m + 1).
    """
    library = _library(x)
    bits = x.view(library.int64)
    n = (bits - ROOT_HALF_BITS) >> 52
    m = (bits - (n << 52)).view(library.float64)
    n = n + (x - x)  # as float64, and no number where x is none
    z = m - 1.0
    z /= m + 1.0
    series = _horner(LOG_TERMS, z * z)
    series *= z
    series += n * LN_2_LOW
    series += n * LN_2_HIGH
    return series


def _horner(coefficients: Sequence[float], x: Array) -> Array:
    """A polynomial, its highest coefficient first."""
    value = x * coefficients[0]
    for coefficient in coefficients[1:-1]:
        value += coefficient
        value *= x
    value += coefficients[-1]
    return value


def _library(array: Array) -> Any:
    """Numpy or torch, as the array is of."""
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch
