"""The transform is what its definition says, to the last bit, and has the symmetries that it should have."""

import numpy as np
import pytest
from features_hash import made_up
from numpy.lib.stride_tricks import sliding_window_view

from softmax_regression.base.errors import UserError
from softmax_regression.features import filters, scattering
from softmax_regression.features.scattering import Scattering


def padded(maps: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Mirrored at the ends, so that every stride-th window of `size` lies around its pixels."""
    before = (size - stride) // 2
    after = [(-(-side // stride) - 1) * stride + size - before - side for side in maps.shape[-2:]]
    return np.pad(maps, [*[(0, 0)] * (maps.ndim - 2), *[(before, each) for each in after]], mode="symmetric")


def modulus(maps: np.ndarray, scale: int, unit: float) -> np.ndarray:
    """By the definition, in whole numbers: [..., height, width] gives [angles, ..., height, width]."""
    wavelets, stride = filters.wavelets(scale).astype(np.int64), 2**scale
    size = wavelets.shape[-1]
    windows = sliding_window_view(padded(maps.astype(np.int64), size, stride), (size, size), axis=(-2, -1))
    sums = np.einsum("...yxij,paij->pa...yx", windows[..., ::stride, ::stride, :, :], wavelets)
    assert np.abs(sums).max() < 2**24
    real, imaginary = (sums * unit).astype(np.float32)
    return np.rint(np.sqrt(real * real + imaginary * imaginary)).astype(np.int64)


def low_pass(maps: np.ndarray, spacing: int) -> np.ndarray:
    weights, stride = filters.gaussian(spacing).astype(np.int64), 4 // spacing
    square = np.outer(weights, weights)
    windows = sliding_window_view(padded(maps, len(weights), stride), square.shape, axis=(-2, -1))
    return np.einsum("...yxij,ij->...yx", windows[..., ::stride, ::stride, :, :], square)


def orders(images: np.ndarray) -> list[np.ndarray]:
    """Order 0 [N, y, x], order 1 [scale, angle, N, y, x], order 2 [coarse angle, fine angle, N, y, x]."""
    pixels = images.astype(np.int64)
    fine, coarse = modulus(pixels, 0, 2.0**-13), modulus(pixels, 1, 2.0**-13)
    second = low_pass(modulus(fine, 1, 2.0**-12), 2)
    return [low_pass(pixels, 1), np.stack([low_pass(fine, 1), low_pass(coarse, 2)]), second]


def found_orders(images: np.ndarray) -> list[np.ndarray]:
    """What the module says, laid out likewise."""
    places = [-(-side // 4) for side in images.shape[1:3]]
    found = Scattering.of(*images.shape[1:]).orders(images)
    return [np.moveaxis(order.reshape(*places, *order.shape[1:]), (0, 1), (-2, -1)) for order in found]


@pytest.mark.parametrize("size", [(28, 28), (8, 8), (4, 4), (9, 13), (5, 31), (40, 61)])
def test_every_number_is_that_of_the_definition(size: tuple[int, int]) -> None:
    images = made_up(size, 2)
    for found, expected in zip(found_orders(images), orders(images), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_largest_sums_and_moduli_are_whole_and_within_their_bounds() -> None:
    """Images that are white where a wavelet at some angle and phase is positive, and maps likewise."""
    for scale, (largest, unit, bound) in enumerate([(255, 2.0**-13, 721), (721, 2.0**-12, 4080)]):
        real, imaginary = filters.wavelets(scale)
        phases = np.exp(2j * np.pi * np.arange(16) / 16)[:, None, None, None]
        positive = ((real + 1j * imaginary) * phases).real.reshape(-1, *real.shape[1:]) > 0
        side = positive.shape[-1]
        maps = np.zeros((len(positive), 28, 28), np.int64)
        maps[:, 8 : 8 + side, 8 : 8 + side] = positive * largest
        if scale == 0:
            plan = Scattering.of(28, 28).fine
            assert (
                np.abs(np.einsum("nij,aij->na", positive * largest, real)).max() == 255 * real.clip(0).sum((1, 2)).max()
            )
        else:
            plan = Scattering.of(28, 28).second
        found = plan.modulus(maps.reshape(len(maps), -1).T.astype(np.float32))
        expected = modulus(maps, scale, unit)
        shape = (plan.height, plan.width, 8, len(maps))
        np.testing.assert_array_equal(found.reshape(shape).transpose(2, 3, 0, 1), expected)
        assert 0.7 * bound < expected.max() <= bound


def test_an_even_image_has_its_grey_and_nothing_else() -> None:
    images = np.full((2, 12, 17), [[[255]], [[3]]], np.uint8)
    zeroth, first, second = Scattering.of(12, 17).orders(images)
    np.testing.assert_array_equal(zeroth, np.broadcast_to([255 * 4096, 3 * 4096], zeroth.shape))
    assert not first.any() and not second.any()


def test_turned_by_90_degrees_the_places_turn_and_the_angles_move_on_by_four() -> None:
    images = made_up((28, 28), 2)
    turned = found_orders(np.rot90(images, axes=(2, 1)))
    zeroth, first, second = (np.rot90(order, axes=(-1, -2)) for order in found_orders(images))
    np.testing.assert_array_equal(turned[0], zeroth)
    np.testing.assert_array_equal(turned[1], np.roll(first, 4, axis=1))
    np.testing.assert_array_equal(turned[2], np.roll(second, (4, 4), axis=(0, 1)))


def test_moved_by_four_pixels_everything_moves_by_one_place() -> None:
    images = np.zeros((8, 44, 44), np.uint8)
    images[:, 16:24, 16:24] = made_up((8, 8), 2)
    for here, there in zip(found_orders(images), found_orders(np.roll(images, (4, -4), axis=(1, 2))), strict=True):
        np.testing.assert_array_equal(np.roll(here, (1, -1), axis=(-2, -1)), there)


def test_a_wave_answers_most_at_its_own_angle() -> None:
    y, x = np.mgrid[:28, :28] - 13.5
    for angle in range(8):
        along = x * np.cos(angle * np.pi / 8) + y * np.sin(angle * np.pi / 8)
        for scale in range(2):
            wave = np.rint(127.5 + 127 * np.cos(0.75 * np.pi / 2**scale * along)).astype(np.uint8)
            _, first, _ = found_orders(wave[None])
            assert first[:, :, 0, 3, 3].argmax() == scale * 8 + angle


def test_features_are_ordered_by_colour_coefficient_row_and_column() -> None:
    images = made_up((9, 13, 3), 2)
    found = Scattering.of(9, 13).numbers(images)
    for colour in range(3):
        zeroth, first, second = orders(images[..., colour])
        second = second.astype(np.float32) / (first[0] + 2.0**15).astype(np.float32)
        whole = [np.rint(zeroth / 16)[None], np.rint(first / 64).reshape(-1, *zeroth.shape), np.rint(second * 2**11)]
        expected = np.concatenate([whole[0], whole[1], whole[2].reshape(-1, *zeroth.shape)])  # [coefficient, N, y, x]
        part = found.reshape(3, 81, 3, 4, -1)[colour]
        np.testing.assert_array_equal(part, expected.transpose(0, 2, 3, 1))


def test_numbers_have_16_bits_whatever_the_image() -> None:
    images = np.concatenate([made_up((28, 28), 50), np.full((1, 28, 28), 255, np.uint8)])
    found = Scattering.of(28, 28).numbers(images)
    assert (found.min(), found.max()) == (0, 255 * 256)
    # What would be more is cut off: a second order beside no first one can be up to 4,080 × 4,096 / 2^15 × 2^11.
    assert scattering.LARGEST == 65535


@pytest.mark.parametrize("size", [(3, 28), (28, 3)])
def test_an_image_without_room_for_one_place_is_refused_in_one_line(size: tuple[int, int]) -> None:
    with pytest.raises(
        UserError,
        match=rf"^images of {size[0]}×{size[1]} are too small for scattering, 4×4 at least: set features to pixels$",
    ):
        Scattering.of(*size)
