import io
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from figures import learning_curve, printed_costs
from matplotlib.figure import Figure

ON_TEST, ON_TRAINING = np.array([2.0, 1.0, 0.5]), np.array([2.0, 1.5, 0.6])
PRINTED = {0: 2.0, 2: 0.55}
ACCURACIES = np.array([[0.4, 0.6, 0.5], [0.9, 0.92, 0.94]])
DRAWN: dict[str, Callable[[], Figure]] = {
    "printed costs": lambda: printed_costs(
        PRINTED, {"test": ON_TEST, "training": ON_TRAINING}, ("range", ON_TEST, ON_TRAINING)
    ),
    "learning curve": lambda: learning_curve(np.array([25, 250]), ACCURACIES, {"marked": (25, 0.55)}),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_curve_drawn_twice_is_the_same_picture_without_a_warning(name: str) -> None:
    pictures = [io.BytesIO(), io.BytesIO()]
    for picture in pictures:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a letter that the font lacks, a layout that does not fit
            DRAWN[name]().savefig(picture, dpi=40, metadata={"Software": None})
    assert pictures[0].getvalue() == pictures[1].getvalue()


def test_printed_costs_are_drawn_as_they_are_and_in_percent_of_the_first_line() -> None:
    left, right = DRAWN["printed costs"]().axes
    assert [line.get_label() for line in left.lines] == ["test", "training", "printed"]
    for line, expected in zip(left.lines, (ON_TEST, ON_TRAINING, [2, 0.55]), strict=True):
        np.testing.assert_array_equal(line.get_ydata(), expected)
    for line, percent in zip(right.lines, ([0, 0, 0], [0, 50, 20], [0, 10]), strict=True):
        np.testing.assert_allclose(np.asarray(line.get_ydata(), float), percent, atol=1e-9)
    np.testing.assert_array_equal(right.lines[2].get_xdata(), [0, 2])
    assert right.collections[0].get_paths()[0].get_extents().ymax == pytest.approx(50)
    assert right.get_ylabel() == "difference from test (%)"


def test_a_learning_curve_shows_median_and_range_every_seed_and_the_marked_model() -> None:
    (axes,) = DRAWN["learning curve"]().axes
    median, seeds, marked = (np.asarray(line.get_xydata()).tolist() for line in axes.lines)
    assert median == [[25, 0.5], [250, 0.92]]
    assert seeds == [[25, 0.4], [25, 0.6], [25, 0.5], [250, 0.9], [250, 0.92], [250, 0.94]]
    assert marked == [[25, 0.55]]
    range_drawn = axes.collections[0].get_paths()[0].get_extents()
    assert (range_drawn.ymin, range_drawn.ymax) == (0.4, 0.94)
    assert [text.get_text() for text in axes.texts] == ["50.0%", "92.0%"]
