"""No sum is rounded, and exp and log have the error that they are said to have."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from softmax_regression.base.errors import UserError
from softmax_regression.model import exact

SEEDS = st.integers(0, 2**32 - 1)


def whole(values: np.ndarray, bits: int) -> list[int]:
    """Values as whole numbers of 2^-bits, which they must be."""
    found = [Fraction(float(value)) * Fraction(2) ** bits for value in np.ravel(values)]
    assert all(each.denominator == 1 for each in found)
    return [each.numerator for each in found]


@given(SEEDS, st.integers(1, 3), st.integers(1, 900), st.integers(1, 4), st.integers(-300, 300))
def test_no_sum_over_pixels_is_rounded(seed: int, classes: int, pixels: int, images: int, exponent: int) -> None:
    random = np.random.default_rng(seed)
    # Weights of very different size, beside whole columns of white pixels: the largest sums there can be.
    weight = random.normal(0, 1, (classes, pixels)) * 2.0 ** (exponent + random.integers(-60, 1, (classes, pixels)))
    rows = random.choice([0, 1, 254, 255], (images, pixels), p=[0.1, 0.1, 0.1, 0.7])
    on_grid = exact.weights_on_grid(weight)
    _, largest = np.frexp(np.abs(weight).max())
    bits = exact.bits_left(pixels, "pixels in an image") - int(largest)
    assert np.abs(on_grid - weight).max() <= 2.0 ** (-bits - 1)
    numbers = np.array(whole(on_grid, bits), object).reshape(classes, pixels)
    sums = whole(on_grid @ rows.T.astype(float), bits)
    assert sums == (numbers @ rows.T.astype(object)).ravel().tolist()
    assert max(map(abs, sums)) <= 2**53


@given(SEEDS, st.integers(1, 500), st.integers(1, 12))
def test_no_sum_over_the_images_of_a_batch_is_rounded(seed: int, images: int, pixels: int) -> None:
    random = np.random.default_rng(seed)
    bits = exact.bits_left(images, "images in a batch")
    error = exact.to_grid(random.uniform(-1, 1, images), 2.0**-bits)
    rows = random.integers(0, 256, (images, pixels))
    expected = np.array(whole(error, bits), object) @ rows.astype(object)
    order = random.permutation(images)
    for each in (slice(None), order):
        assert whole(error[each] @ rows[each].astype(float), bits) == expected.tolist()
    halves = [error[part] @ rows[part].astype(float) for part in np.array_split(order, 3)]
    assert whole(halves[0] + halves[1] + halves[2], bits) == expected.tolist()


@given(st.lists(st.floats(0, 2.0**20, exclude_max=True), min_size=1, max_size=300), SEEDS)
def test_no_sum_of_costs_is_rounded(costs: list[float], seed: int) -> None:
    count = len(costs)
    bits = 51 - (count - 1).bit_length()
    # Each on its own gives the two parts that are summed.
    parts = np.array([exact.sum_costs(np.array([cost]), count) for cost in costs])
    expected = [sum(whole(parts[:, 0], bits - 20)), sum(whole(parts[:, 1], 2 * bits - 20))]
    for order in (costs, np.random.default_rng(seed).permutation(costs)):
        high, low = exact.sum_costs(np.array(order), count)
        assert [*whole(high, bits - 20), *whole(low, 2 * bits - 20)] == expected
    total = Fraction(float(high)) + Fraction(float(low))
    assert abs(total - sum(map(Fraction, costs))) <= count * Fraction(1, 2 ** (2 * bits - 19))


@given(SEEDS, st.integers(2, 1000))
def test_no_sum_over_classes_is_rounded(seed: int, classes: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 20, (2, classes))
    order = np.random.default_rng(seed).permutation(classes)
    for found, permuted in zip(exact.log_softmax(logits), exact.log_softmax(logits[:, order]), strict=True):
        np.testing.assert_array_equal(found[:, order], permuted)


def test_a_cost_of_over_a_million_nats_is_not_finite() -> None:
    assert not exact.sum_costs(torch.tensor([1.0, 2.0**20], dtype=torch.float64), 2).sum().isfinite()
    assert exact.log_softmax(torch.tensor([[torch.inf, 0.0]], dtype=torch.float64))[0].isnan().all()


@pytest.mark.parametrize(("terms", "refused"), [(2**25, False), (2**25 + 1, True)])
def test_where_the_bits_run_out_one_line_says_so(terms: int, refused: bool) -> None:
    if refused:
        with pytest.raises(UserError, match=r"^33554433 images in a batch: more than 33554432, for which a sum over"):
            exact.bits_left(terms, "images in a batch")
    else:
        assert exact.bits_left(terms, "images in a batch") == exact.LEAST_BITS


def test_exp_is_right_to_1e_14_of_it() -> None:
    x = np.concatenate([-np.random.default_rng(0).exponential(5, 2000).clip(0, 40), [0.0, -40.0, -1e300]])
    with mpmath.workprec(120):
        errors = [
            mpmath.mpf(found) / mpmath.exp(max(each, -40)) - 1 for found, each in zip(exact.exp(x), x, strict=True)
        ]
    assert max(map(abs, errors)) < 1e-14
    assert exact.exp(np.array([0.0]))[0] == 1


def test_log_is_right_to_5e_16() -> None:
    x = np.concatenate(
        [np.random.default_rng(0).uniform(1, 60, 2000), 2.0 ** np.arange(0, 6), [math.sqrt(0.5), 1 + 2e-16]]
    )
    with mpmath.workprec(120):
        errors = [mpmath.mpf(found) - mpmath.log(each) for found, each in zip(exact.log(x), x, strict=True)]
    assert max(map(abs, errors)) < 5e-16
    assert exact.log(np.array([1.0]))[0] == 0


@given(SEEDS)
def test_numpy_and_torch_give_the_same_bits(seed: int) -> None:
    random = np.random.default_rng(seed)
    weight, bias = random.normal(0, 3, (2, 4, 9)), random.normal(0, 1, (2, 4))
    rows = random.integers(0, 256, (5, 9)).astype(float)
    of_numpy = exact.log_softmax(exact.logits(weight, bias, rows))
    of_torch = exact.log_softmax.__wrapped__(exact.logits(*map(torch.from_numpy, (weight, bias, rows))))  # type: ignore[attr-defined]
    for found, expected in zip(of_torch, of_numpy, strict=True):
        np.testing.assert_array_equal(found.numpy(), expected)


def test_predictions_are_those_of_the_scaled_pixels_a_chunk_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    weight, bias = random.normal(0, 3, (3, 6)).astype(np.float32), np.array([0.5, 0, -1], np.float32)
    images, labels = random.integers(0, 256, (7, 6), dtype=np.uint8), random.integers(0, 3, 7)
    logits = images / 255 @ weight.T.astype(np.float64) + bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    monkeypatch.setattr(exact, "CHUNK_IMAGES", 3)
    predicted, probability, costs = exact.predict(weight, bias, images, labels)
    np.testing.assert_array_equal(predicted, expected.argmax(axis=1))
    np.testing.assert_allclose(probability, expected.max(axis=1), atol=1e-8)
    np.testing.assert_allclose(costs, -np.log(expected[np.arange(7), labels]), atol=1e-8)


def test_the_largest_weights_of_a_file_give_finite_costs() -> None:
    largest = np.full((1, 2), np.finfo(np.float32).max)
    pixels = np.full((2, 2), 255, np.uint8)
    predicted, _, costs = exact.predict(np.vstack([largest, -largest]), np.zeros(2), pixels, np.array([0, 1]))
    assert predicted.tolist() == [0, 0]
    assert (costs[0], np.isfinite(costs[1])) == (0, True)
