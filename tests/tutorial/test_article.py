import article
import numpy as np
import pytest
from article import Comparison, RangeComparison, verdict


def test_figures_agree_when_they_are_equal_once_rounded_to_six_decimals() -> None:
    comparison = Comparison("costs", [0.005018, 0.005018, 0.005018], [0.0050184, 0.0050186, 0.0050174])
    assert comparison.agrees.tolist() == [True, False, False]


def test_a_range_holds_its_ends_and_nothing_outside() -> None:
    smallest, largest = np.array([1.0, 1.0, 1.0, 1.0]), np.array([2.0, 2.0, 2.0, 2.0])
    assert RangeComparison("costs", [1.0, 2.0, 0.9, 2.1], smallest, largest).agrees.tolist() == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(("reproduced", "words"), [([1, 2, 3], "3 of 3: reproduced"), ([1, 2, 4], "2 of 3: differs")])
def test_a_verdict_counts_what_agrees(reproduced: list[int], words: str) -> None:
    assert verdict(Comparison("labels", [1, 2, 3], reproduced)) == words


def test_costs_come_from_test_images_only_if_all_agree_there_and_not_all_on_training_images() -> None:
    same, other = Comparison("", [2.3, 0.1], [2.3, 0.1]), Comparison("", [2.3, 0.1], [2.3, 0.2])
    told = "The printed column was computed on test images: 2 of 2 agree on test images, 1 on training images."
    assert article.origin(on_training=other, on_test=same).startswith(told)
    for on_training, on_test in ((same, same), (same, other), (other, other)):
        assert "is not explained" in article.origin(on_training, on_test)


def test_there_is_a_printed_cost_for_each_printed_epoch() -> None:
    assert len(article.COSTS_FROM_SCRATCH) == len(article.COSTS_BUILTIN) == len(article.EPOCHS) == 11
