import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softmax_regression.sources.dividing import by_content, divide, is_mixed

GENERATOR = np.random.default_rng(0)


def some(counts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels with so many of each class, shuffled, and different digests."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return GENERATOR.permutation(labels), np.array([GENERATOR.bytes(16) for _ in labels], "S16")


def test_a_fifth_of_each_class_is_tested_on() -> None:
    labels, digests = some([100, 50, 10])
    train, test = divide(labels, digests)
    assert np.bincount(labels[test]).tolist() == [20, 10, 2] and np.bincount(labels[train]).tolist() == [80, 40, 8]
    assert sorted([*train, *test]) == list(range(160))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_the_division_is_by_content_and_not_by_order(counts: list[int]) -> None:
    labels, digests = some(counts)
    _, test = divide(labels, digests)
    order = np.random.default_rng(len(counts)).permutation(len(labels))
    _, again = divide(labels[order], digests[order])
    assert set(digests[test]) == set(digests[order][again])


def test_another_picture_moves_one_at_most() -> None:
    labels, digests = some([60, 60])
    before = set(digests[divide(labels, digests)[1]])
    after = set(digests[:-1][divide(labels[:-1], digests[:-1])[1]])
    assert len(before ^ after) <= 2


def test_equal_pictures_stay_together() -> None:
    labels = np.zeros(40, np.int64)
    digests = np.repeat(np.array([GENERATOR.bytes(16) for _ in range(4)], "S16"), [10, 10, 10, 10])
    train, test = divide(labels, digests)
    assert len(test) == 10 and not set(digests[train]) & set(digests[test])


@pytest.mark.parametrize(("count", "tested"), [(1, 0), (2, 1), (3, 1), (5, 1), (8, 2)])
def test_small_classes_have_one_to_test_on_if_they_have_two(count: int, tested: int) -> None:
    assert len(divide(*some([count]))[1]) == tested


def test_the_last_ones_of_an_order_by_content_have_all_classes() -> None:
    labels, digests = some([900, 90, 10])
    order = by_content(labels, digests)
    assert sorted(order) == list(range(1000))
    assert np.bincount(labels[order[-100:]], minlength=3).tolist() == [90, 9, 1]
    assert set(digests[order[-100:]]) == set(
        digests[np.flatnonzero(labels == 0)][np.argsort(digests[labels == 0])][-90:]
    ) | set(digests[labels == 1][np.argsort(digests[labels == 1])][-9:]) | {max(digests[labels == 2])}


def test_classes_one_after_another_are_not_mixed() -> None:
    assert is_mixed(GENERATOR.integers(0, 10, 1000)) and is_mixed(np.tile([0, 1], 50)) and is_mixed(np.array([0]))
    assert not is_mixed(np.repeat(np.arange(10), 100)) and not is_mixed(np.repeat([0, 1], [990, 10]))
