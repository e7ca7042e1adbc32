"""Which pictures are for testing, and the order of the others: by what they show, not by their names."""

import numpy as np

TEST_SHARE = 0.2
"""As of the bundled digits."""
LEAST_MIXED = 0.5
"""How often neighbours in an order must differ in class, as a share of how often they do by chance."""


def divide(labels: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows to train on and the rows to test on, of each class a fifth.

    int64 [N] labels; bytes [N] keys, equal for pictures that show the same. Those with the smallest of their class are
    tested on, so that another picture moves one at most; equal ones stay together. At least one is tested on, and one
    trained on, unless a class has a single picture, or shows the same in all.
    """
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        rows = rows[np.argsort(keys[rows], kind="stable")]
        ends = np.flatnonzero(keys[rows][1:] != keys[rows][:-1]) + 1  # where another picture begins
        if len(ends):
            test[rows[: ends[np.abs(ends - len(rows) * TEST_SHARE).argmin()]]] = True
    return np.flatnonzero(~test), np.flatnonzero(test)


def by_content(labels: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """An order of N rows in which each class is spread evenly, so that the last ones of it have all classes.

    Within a class by their keys, as in `divide`.
    """
    places = np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        places[rows[np.argsort(keys[rows], kind="stable")]] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.lexsort((labels, places))


def is_mixed(labels: np.ndarray) -> bool:
    """Whether labels int64 [N] change from one to the next about as often as in a random order, not class by class."""
    shares = np.bincount(labels) / len(labels)
    by_chance = 1 - float(np.sum(shares**2))
    return len(labels) < 2 or float(np.mean(labels[1:] != labels[:-1])) >= LEAST_MIXED * by_chance
