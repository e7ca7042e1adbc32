"""The wavelets are Morlet's, in whole numbers of which none is in doubt."""

import math

import mpmath
import numpy as np
import pytest

from softmax_regression.features import filters

SCALES = range(filters.SCALES)


def morlet(scale: int, angle: int, size: int) -> list[list[mpmath.mpc]]:
    """By its definition, to 40 digits."""
    with mpmath.workdps(40):
        turn, deviation = mpmath.pi * angle / 8, mpmath.mpf("0.8") * 2**scale
        places = [mpmath.mpf(2 * n + 1 - size) / 2 for n in range(size)]
        envelope, wave = [], []
        for y in places:
            along = [x * mpmath.cos(turn) + y * mpmath.sin(turn) for x in places]
            across = [y * mpmath.cos(turn) - x * mpmath.sin(turn) for x in places]
            heights = [mpmath.exp(-(u**2 + v**2 / 4) / (2 * deviation**2)) for u, v in zip(along, across, strict=True)]
            envelope.append(heights)
            wave.append([h * mpmath.expj(mpmath.pi * 0.75 / 2**scale * u) for h, u in zip(heights, along, strict=True)])
        mean = sum(map(sum, wave)) / sum(map(sum, envelope))
        return [
            [w - mean * h for w, h in zip(waves, heights, strict=True)]
            for waves, heights in zip(wave, envelope, strict=True)
        ]


@pytest.mark.parametrize("scale", SCALES)
def test_a_wavelet_is_morlets_by_a_factor_and_no_weight_is_near_the_middle_of_two_numbers(scale: int) -> None:
    for angle in range(filters.ANGLES):
        exact_wave = morlet(scale, angle, filters.SIZES[scale])
        expected = np.array([[[float(w.real), float(w.imag)] for w in row] for row in exact_wave]).transpose(2, 0, 1)
        np.testing.assert_allclose(filters.morlet(scale, angle, filters.SIZES[scale]), expected, rtol=0, atol=1e-13)
        found = filters.wavelets(scale)[:, angle]
        positive = max(math.fsum(part[part > 0]) for part in expected)
        # The factor is 2^14 or a few less by the sum of positive weights; the found one is the first that is right.
        factors = [(2**14 - less) / positive for less in range(1000)]
        factor = next(factor for factor in factors if (np.rint(expected * factor) == found).all())
        off = np.abs(expected * factor - np.floor(expected * factor) - 0.5)
        assert off.min() > 1e-6


@pytest.mark.parametrize("scale", SCALES)
def test_weights_are_whole_add_up_to_nothing_and_their_positive_ones_to_2_14_at_most(scale: int) -> None:
    wavelets = filters.wavelets(scale)
    np.testing.assert_array_equal(wavelets, np.rint(wavelets))
    np.testing.assert_array_equal(wavelets.sum((2, 3)), 0)
    positive = wavelets.clip(0).sum((2, 3)).max(0)
    assert positive.max() <= 2**14
    assert positive.min() > 0.95 * 2**14


@pytest.mark.parametrize("scale", SCALES)
def test_turned_by_90_degrees_a_wavelet_is_that_of_four_angles_on_or_its_conjugate(scale: int) -> None:
    real, imaginary = filters.wavelets(scale)
    np.testing.assert_array_equal(np.rot90(real, axes=(2, 1)), np.roll(real, -4, axis=0))
    turned = np.rot90(imaginary, axes=(2, 1))
    np.testing.assert_array_equal(turned[:4], imaginary[4:])
    np.testing.assert_array_equal(turned[4:], -imaginary[:4])


def test_the_cosine_is_right_to_1e_13() -> None:
    x = np.concatenate([np.random.default_rng(0).uniform(-100, 100, 2000), np.arange(-8, 9) * np.pi / 8])
    with mpmath.workdps(30):
        errors = [mpmath.mpf(found) - mpmath.cos(each) for found, each in zip(filters.cosine(x), x, strict=True)]
    assert max(map(abs, errors)) < 1e-13


@pytest.mark.parametrize("spacing", [1, 2])
def test_the_gaussian_has_its_deviation_and_its_sum(spacing: int) -> None:
    weights = filters.gaussian(spacing)
    assert weights.sum() == filters.GAUSSIAN_SUM
    np.testing.assert_array_equal(weights, weights[::-1])
    x = (np.arange(len(weights)) - (len(weights) - 1) / 2) * spacing
    assert math.sqrt((weights * x**2).sum() / weights.sum()) == pytest.approx(1.6, abs=0.15)  # less its ends
    exact = np.exp(-(x**2) / (2 * 1.6**2))
    np.testing.assert_allclose(weights, exact / exact.sum() * 64, atol=1)
