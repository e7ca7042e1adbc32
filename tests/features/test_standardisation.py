"""Means and deviations are the images' whatever the order and the chunks; bytes are what they say."""

import math
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from features_hash import made_up

from softmax_regression.base import tensor_files
from softmax_regression.base.errors import UserError
from softmax_regression.features import standardisation
from softmax_regression.features.scattering import Scattering
from softmax_regression.features.standardisation import Standardisation, feature_count

IMAGES = made_up((12, 9), 10)
NUMBERS = Scattering.of(12, 9).numbers(IMAGES)
FOUND = Standardisation.fit(IMAGES)


def same(found: Standardisation, expected: Standardisation) -> bool:
    return (
        found.means.tobytes() == expected.means.tobytes()
        and found.deviations.tobytes() == expected.deviations.tobytes()
    )


def test_means_and_deviations_are_whole_numbers() -> None:
    for feature in range(0, len(NUMBERS), 50):
        numbers = [Fraction(int(number)) for number in NUMBERS[feature]]
        mean = sum(numbers) / len(numbers)
        variance = sum((number - mean) ** 2 for number in numbers) / len(numbers)
        assert FOUND.means[feature] == math.floor(mean + Fraction(1, 2))
        assert FOUND.deviations[feature] == math.floor(math.sqrt(variance))


@pytest.mark.parametrize("pixels", [1, 12 * 9 * 7, 10**6])
@pytest.mark.parametrize("part", [1, 3])
def test_neither_order_nor_chunks_nor_threads_make_a_difference(
    pixels: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = FOUND.transform(IMAGES)
    monkeypatch.setattr(standardisation, "CHUNK_PIXELS", pixels)
    monkeypatch.setattr(standardisation, "PART", part)
    monkeypatch.setenv("OMP_NUM_THREADS", str(part))
    order = np.random.default_rng(0).permutation(len(IMAGES))
    found = Standardisation.fit(IMAGES[order])
    assert same(found, FOUND)
    np.testing.assert_array_equal(found.transform(IMAGES[order]), expected[order])


def test_a_byte_is_0_at_the_mean_and_64_a_deviation() -> None:
    found = Standardisation.fit(IMAGES[:10])  # noise, beside which dots and black and white lie far off
    bytes_ = found.transform(IMAGES)
    assert bytes_.dtype == np.int8
    assert bytes_.shape == (40, 81 * 3 * 3)
    scores = (NUMBERS.T - found.means) / found.deviations
    assert scores.min() < -2
    assert scores.max() > 2
    off = np.abs(bytes_ - (64 * scores).clip(-128, 127))
    assert off.max() < 0.5 + 1e-9


def test_a_feature_that_never_varied_is_0_in_every_image() -> None:
    images = np.full((3, 8, 8), 7, np.uint8)
    found = Standardisation.fit(images)
    np.testing.assert_array_equal(found.deviations, 0)
    np.testing.assert_array_equal(found.transform(made_up((8, 8), 1)), 0)


def test_of_many_images_some_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standardisation, "FITTED_IMAGES", 14)
    assert same(Standardisation.fit(IMAGES), Standardisation.fit(IMAGES[::3]))


def test_a_single_image_has_the_bytes_that_it_has_among_others() -> None:
    np.testing.assert_array_equal(FOUND.transform(IMAGES[7:8]), FOUND.transform(IMAGES)[7:8])


def test_what_was_found_comes_back_from_a_file(tmp_path: Path) -> None:
    FOUND.write(tmp_path / "x", IMAGES, "md5")
    arrays, description = tensor_files.read(tmp_path / "x")
    assert description["data"] == "md5"
    assert arrays.keys() == {"features"}
    np.testing.assert_array_equal(arrays["features"], FOUND.transform(IMAGES))
    assert same(Standardisation.of(description["standardisation"], (12, 9)), FOUND)


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        {"means": [1] * 729},
        {"means": [1] * 729, "deviations": [-1] * 729},
        {"means": [1.5] * 729, "deviations": [1] * 729},
        {"means": [1] * 728, "deviations": [1] * 728},
        {"means": 1, "deviations": 1},
    ],
)
def test_what_cannot_have_been_found_is_refused_in_one_line(wrong: Any) -> None:
    with pytest.raises(UserError, match=r"^means and deviations must be 729 whole numbers each, from 0 to 65535$"):
        Standardisation.of(wrong, (12, 9))


def test_images_of_another_size_are_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"^images of 324 features, but there are means of 729$"):
        FOUND.chunks(IMAGES[:, :8, :8])


@pytest.mark.parametrize(("size", "count"), [((28, 28), 3969), ((9, 13, 3), 2916), ((256, 256), 331776)])
def test_as_many_features_as_are_counted(size: tuple[int, ...], count: int) -> None:
    assert feature_count(size) == count
    images = made_up(size, 1)[:2]
    assert Standardisation.fit(images).transform(images).shape == (2, count)


def test_only_a_part_is_computed_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standardisation, "CHUNK_PIXELS", 12 * 9 * 2)
    monkeypatch.setattr(standardisation, "PART", 3)
    computed = []
    numbers = standardisation._numbers

    def counted(images: np.ndarray) -> np.ndarray:
        computed.append(len(images))
        return numbers(images)

    monkeypatch.setattr(standardisation, "_numbers", counted)
    chunks = FOUND.chunks(IMAGES)
    first = next(chunks)
    assert sum(computed) <= 3 * 2
    rest = [first, *chunks]
    assert [len(chunk) for chunk in rest] == [2] * 20
    np.testing.assert_array_equal(np.concatenate(rest), FOUND.transform(IMAGES))


def test_no_images_have_no_features() -> None:
    assert FOUND.transform(IMAGES[:0]).shape == (0, 729)


@pytest.mark.parametrize(("said", "threads"), [("3", 3), ("2,1", 2), ("", 7), ("-1", 7), ("0", 7), ("two", 7)])
def test_as_many_threads_as_the_environment_says(said: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert standardisation._threads() == threads


def test_a_size_that_a_file_says_is_counted_without_planning_for_it() -> None:
    assert feature_count((10**6, 10**6)) == 81 * 250_000**2
    with pytest.raises(UserError, match=r"^images of 3×9 are too small for scattering, 4×4 at least: set features to"):
        feature_count((3, 9))
