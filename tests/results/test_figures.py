import io
import itertools
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from softmax_regression.features.scattering import Scattering
from softmax_regression.results.figures import (
    confusion_matrix,
    cost_curves,
    feature_weights,
    image_grid,
    most_confused,
    reliability,
    seen,
    weight_images,
)
from softmax_regression.results.statistics import wilson_interval

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 4, 3), dtype=np.uint8)
COLOURED = np.random.default_rng(2).integers(0, 256, (7, 4, 3, 3), dtype=np.uint8)
RIGHT = np.array([True, False, True, True, False, True, True])
WEIGHT = np.random.default_rng(1).normal(-1, 2, (7, 12)).astype(np.float32)
IN_COLOUR = np.random.default_rng(3).normal(-1, 2, (7, 36)).astype(np.float32)
COUNTS = np.array([[50, 3, 0], [12, 7, 1], [0, 0, 0]])
COSTS = {
    "epoch": np.array([0.0, 1.0, 2.0]),
    "train_cost": np.array([2.0, 1.0, 0.5]),
    "valid_cost": np.array([2.1, 1.2, 0.9]),
    "valid_accuracy": np.array([0.3, 0.7, 0.8]),
}
CONFIDENCE, SURE = np.array([0.7, 0.7, 0.72, 0.98, 1.0]), np.array([True, False, True, True, True])
NAMES = [
    "$x$",
    "a \"b\" 'c'",
    "^_{",
    *(f"{n:02d} is a breed of dogs with quite a long name, the one of number {n}" for n in range(27)),
]
"""Of 30 classes, most of which have 60 letters and are much alike."""
DRAWN: dict[str, Callable[[], Figure]] = {
    "image grid": lambda: image_grid(IMAGES, "abcdefg", right=RIGHT),
    "empty image grid": lambda: image_grid(IMAGES[:0], ""),
    "weights": lambda: weight_images(WEIGHT, (4, 3), "abcdefg"),
    "image grid in colour": lambda: image_grid(COLOURED, "abcdefg", RIGHT, "picture"),
    "image grid with odd names": lambda: image_grid(np.zeros((30, 8, 8), np.uint8), NAMES),
    "weights in colour": lambda: weight_images(IN_COLOUR, (4, 3, 3), "abcdefg"),
    "weights of odd names": lambda: weight_images(np.ones((30, 8)), (2, 4), NAMES),
    "weights of many classes": lambda: weight_images(np.ones((101, 6)), (1, 2, 3), [str(name) for name in range(101)]),
    "confusion matrix of odd names": lambda: confusion_matrix(np.eye(30, dtype=int), NAMES),
    "what was seen": lambda: seen(
        [*COLOURED[:2]], ["$x$", "b"], [[0, 0, 3, 4]] * 2, [*IMAGES[:2]], NAMES[2:4], "strokes"
    ),
    "confusion matrix": lambda: confusion_matrix(COUNTS, ["T-shirt", "shoe", "Ankle boot"]),
    "cost curves": lambda: cost_curves(COSTS),
    "reliability": lambda: reliability(CONFIDENCE, SURE),
}


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_twice_a_figure_is_the_same_picture_without_a_warning(name: str) -> None:
    pictures = []
    for _ in range(2):
        figure = DRAWN[name]()
        assert isinstance(figure, Figure)
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a letter that the font lacks, a layout that does not fit
            figure.savefig(file, dpi=40, metadata={"Software": None})
        pictures.append(file.getvalue())
    assert pictures[0] == pictures[1]


def test_an_image_grid_shows_each_image_under_its_title() -> None:
    axes = image_grid(IMAGES, "abcdefg").axes
    assert [each.get_title() for each in axes] == list("abcdefg")
    for each, image in zip(axes, IMAGES, strict=True):
        np.testing.assert_array_equal(each.images[0].get_array(), image)
        assert each.images[0].get_clim() == (0, 255)


@pytest.mark.parametrize(("shows", "black"), [("strokes", 255), ("object", 255), ("picture", 0)])
def test_ink_is_dark_and_a_picture_no_negative(shows: str, black: int) -> None:
    figure = seen([IMAGES[0]], ["name"], [[0, 0, 3, 4]], [IMAGES[1]], ["a 0.9"], shows)
    given, saw = (axes.images[0] for axes in figure.axes)
    assert given.to_rgba(np.array([0.0, 255.0]))[:, 0].tolist() == [0, 1]  # whatever the model knows
    for drawn in (saw, image_grid(IMAGES[:1], "a", shows=shows).axes[0].images[0]):
        assert drawn.to_rgba(np.array([black, 255.0 - black]))[:, :3].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_images_in_colour_are_drawn_as_they_are() -> None:
    figure = seen([COLOURED[0]], ["name"], [[0, 0, 3, 4]], [COLOURED[1]], ["a 0.9"], "picture")
    drawn = [*figure.axes, *image_grid(COLOURED[2:], "abcde", shows="picture").axes]
    for axes, image in zip(drawn, COLOURED, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), image)


def test_what_was_taken_of_a_picture_is_framed() -> None:
    figure = seen([COLOURED[0]], ["$x$"], [[1, 0, 3, 2]], [IMAGES[0]], ["a 0.9"], "strokes")
    (frame,) = (patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle))
    assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((0.5, -0.5), 2, 2)
    assert [axes.get_title() for axes in figure.axes] == ["$x$", "a 0.9"]


@pytest.mark.parametrize("name", ["image grid with odd names", "weights of odd names", "weights in colour"])
def test_no_title_runs_into_its_neighbour_nor_becomes_too_small_to_read(name: str) -> None:
    figure = DRAWN[name]()
    figure.draw_without_rendering()
    titles = [axes.title for axes in figure.axes if axes.get_title()]
    assert len(titles) >= 7 and all(float(title.get_fontsize()) >= 5.5 for title in titles)
    areas = [title.get_window_extent() for title in titles]
    assert not any(first.overlaps(second) for first, second in itertools.combinations(areas, 2))


def test_of_long_names_both_ends_are_left() -> None:
    titles = [axes.get_title() for axes in DRAWN["weights of odd names"]().axes[:30]]
    assert titles[:3] == NAMES[:3] and titles[3] == "00 is a bree…of number 0" and len(set(titles)) == 30


def test_an_image_grid_fills_row_after_row() -> None:
    axes = image_grid(IMAGES, "abcdefg").axes
    places = [(spec.rowspan.start, spec.colspan.start) for spec in (each.get_subplotspec() for each in axes) if spec]
    assert places == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 0), (1, 1)]


def test_a_wrong_prediction_is_marked_by_a_cross_and_a_thick_frame_not_by_colour_alone() -> None:
    axes = image_grid(IMAGES, "abcdefg", right=RIGHT).axes
    assert [each.get_title() for each in axes] == ["a", "✗ b", "c", "d", "✗ e", "f", "g"]
    widths = [each.spines["top"].get_linewidth() for each in axes]
    assert all(width >= 3 for width, right in zip(widths, RIGHT, strict=True) if not right)
    assert all(width <= 1 for width, right in zip(widths, RIGHT, strict=True) if right)


def test_weights_are_drawn_in_colours_symmetric_about_0_on_one_scale() -> None:
    figure = weight_images(WEIGHT, (4, 3), "abcdefg")
    *axes, scale = figure.axes
    limit = np.quantile(np.abs(WEIGHT), 0.995)
    assert [each.get_title() for each in axes] == list("abcdefg")
    for each, row in zip(axes, WEIGHT, strict=True):
        np.testing.assert_array_equal(each.images[0].get_array(), row.reshape(4, 3))
        assert each.images[0].get_clim() == (-limit, limit)
    np.testing.assert_allclose(axes[0].images[0].to_rgba(np.zeros(1))[0, :3], 0.97, atol=0.01)  # 0 is white
    assert scale.get_ylabel() == "weight"


def test_weights_in_colour_are_drawn_beside_each_other_on_one_scale() -> None:
    figure = weight_images(IN_COLOUR, (4, 3, 3), "abcdefg")
    *axes, _ = figure.axes
    limit = np.quantile(np.abs(IN_COLOUR), 0.995)
    for each, row in zip(axes, IN_COLOUR, strict=True):
        drawn = np.asarray(each.images[0].get_array())
        for colour, (start, label) in enumerate(zip((0, 3, 6), each.get_xticklabels(), strict=True)):
            np.testing.assert_array_equal(drawn[:, start : start + 3], row.reshape(4, 3, 3)[:, :, colour])
            assert (label.get_text(), label.get_position()[0]) == (("red", "green", "blue")[colour], start + 1)
        assert each.images[0].get_clim() == (-limit, limit)


def test_of_many_classes_the_weights_of_the_first_hundred_are_drawn_and_that_is_said() -> None:
    *axes, scale = DRAWN["weights of many classes"]().axes
    assert [each.get_title() for each in axes] == [str(name) for name in range(100)]
    assert scale.get_ylabel() == "weight (the first 100 of 101 classes)"


def test_weights_that_are_all_0_are_white() -> None:
    drawn = weight_images(np.zeros((2, 12), np.float32), (4, 3), "ab").axes[0].images[0]
    np.testing.assert_allclose(drawn.to_rgba(np.zeros((4, 3)))[..., :3], 0.97, atol=0.01)


def test_each_cell_of_the_confusion_matrix_bears_its_count() -> None:
    axes, _ = confusion_matrix(COUNTS, ["cat", "dog", "hen"]).axes
    written = {(int(text.get_position()[1]), int(text.get_position()[0])): text.get_text() for text in axes.texts}
    assert written == {place: str(count) for place, count in np.ndenumerate(COUNTS)}
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("actual", "predicted")
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["cat", "dog", "hen"]


@pytest.mark.parametrize(("classes", "counts", "named"), [(40, 1600, 40), (41, 0, 41), (100, 0, 100), (250, 0, 84)])
def test_of_many_classes_no_counts_are_written_and_of_still_more_not_all_names(
    classes: int, counts: int, named: int
) -> None:
    figure = confusion_matrix(np.eye(classes, dtype=int), [f"class {number}" for number in range(classes)])
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert len(axes.texts) == counts
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        areas = [label.get_window_extent() for label in labels]
        assert len(areas) == named and labels[1].get_text() == f"class {-(-classes // 100)}"
        assert not any(first.overlaps(second) for first, second in itertools.pairwise(areas))
    written = [text.get_window_extent() for text in axes.texts]
    assert not any(first.overlaps(second) for first, second in itertools.pairwise(written))


def test_the_three_most_frequent_confusions_are_framed_and_none_that_never_occurred() -> None:
    counts = np.array([[9, 5, 1], [7, 8, 6], [1, 0, 9]])
    assert most_confused(counts) == [(1, 0), (1, 2), (0, 1)]
    assert most_confused(COUNTS) == [(1, 0), (0, 1), (1, 2)]
    assert most_confused(np.diag([3, 4])) == []
    axes, _ = confusion_matrix(counts, "abc").axes
    centres = [(patch.get_y() + 0.5, patch.get_x() + 0.5) for patch in axes.patches if isinstance(patch, Rectangle)]
    assert centres == most_confused(counts)


def test_the_reliability_diagram_shows_accuracy_over_stated_probability_and_counts() -> None:
    above, below = reliability(CONFIDENCE, SURE).axes
    diagonal, points = above.lines
    np.testing.assert_array_equal(np.asarray(diagonal.get_xydata()), [[0, 0], [1, 1]])
    np.testing.assert_allclose(np.asarray(points.get_xydata(), float), [[2.12 / 3, 2 / 3], [0.99, 1.0]])
    (bars,) = above.collections
    assert isinstance(bars, LineCollection)
    ends = [segment[:, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(ends, np.transpose(wilson_interval(np.array([2, 2]), np.array([3, 2]))))
    heights = [patch.get_height() for patch in below.patches if isinstance(patch, Rectangle)]
    assert heights == [0] * 10 + [3, 0, 0, 0, 2]
    assert "3" in [text.get_text() for text in below.texts]


def test_the_confusion_matrix_is_shaded_by_the_share_of_the_row_and_its_counts_stay_legible() -> None:
    axes, _ = confusion_matrix(COUNTS, ["cat", "dog", "hen"]).axes
    image = axes.images[0]
    share = np.array([[50 / 53, 3 / 53, 0], [0.6, 0.35, 0.05], [0, 0, 0]])
    np.testing.assert_allclose(np.asarray(image.get_array()), share)
    for text, shade in zip(axes.texts, share.reshape(-1, 1), strict=True):
        contrast = np.mean(to_rgb(text.get_color())) - np.mean(image.to_rgba(shade)[0, :3])
        assert abs(contrast) > 0.4, text.get_text()


def test_cost_curves_show_both_costs_and_the_accuracy_over_the_epochs() -> None:
    costs, accuracy = cost_curves(COSTS).axes
    drawn = {line.get_label(): line for line in costs.lines}
    assert drawn.keys() == {"training", "validation"}
    np.testing.assert_array_equal(drawn["training"].get_xydata(), np.stack([COSTS["epoch"], COSTS["train_cost"]], 1))
    np.testing.assert_array_equal(drawn["validation"].get_xydata(), np.stack([COSTS["epoch"], COSTS["valid_cost"]], 1))
    np.testing.assert_array_equal(accuracy.lines[0].get_ydata(), COSTS["valid_accuracy"])
    assert drawn["training"].get_linestyle() != drawn["validation"].get_linestyle()
    assert (costs.get_ylabel(), accuracy.get_ylabel()) == ("cost (nats)", "accuracy")


def test_a_single_epoch_is_seen() -> None:
    figures = [cost_curves({name: values[:1] for name, values in COSTS.items()}) for _ in range(2)]
    for line in figures[1].axes[0].lines:
        line.set_visible(False)
    pictures = [io.BytesIO() for _ in figures]
    for figure, picture in zip(figures, pictures, strict=True):
        figure.savefig(picture, dpi=40)
    assert pictures[0].getvalue() != pictures[1].getvalue()


DRAW = """
import hashlib, io
import numpy as np
from softmax_regression.results.figures import confusion_matrix, cost_curves
file = io.BytesIO()
confusion_matrix(np.array([[50, 3], [12, 7]]), ["0", "1"]).savefig(file, metadata={"Software": None})
costs = {name: np.array([2.0, 1.0]) for name in ("epoch", "train_cost", "valid_cost", "valid_accuracy")}
cost_curves(costs).savefig(file, metadata={"Software": None})
print(hashlib.sha256(file.getvalue()).hexdigest())
"""


def test_the_users_matplotlib_changes_no_picture(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.family: serif\naxes.grid: True\nsavefig.dpi: 300\n")
    own = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline", "MATPLOTLIBRC": str(tmp_path)}
    printed = [
        subprocess.run([sys.executable, "-c", DRAW], env=environment, check=True, capture_output=True, text=True).stdout
        for environment in (dict(os.environ), own)
    ]
    assert printed[0] == printed[1]


@pytest.mark.parametrize("scale", [0, 1])
@pytest.mark.parametrize("angle", [0, 4])
def test_a_stroke_is_drawn_as_it_lies_in_an_image_that_the_wavelet_answers_to(scale: int, angle: int) -> None:
    image = np.zeros((8, 12), np.uint8)
    if angle:
        image[3:5] = 255
    else:
        image[:, 5:7] = 255
    _, first, _ = Scattering.of(8, 12).orders(image[None])
    assert first[4, scale, :, 0].argmax() == angle

    weight = np.zeros((2, 81, 2, 3))
    weight[1, 1 + 8 * scale + angle, 1, 2] = 0.5
    axes = feature_weights(weight.reshape(2, -1), (8, 12), ("a", "b")).axes[1]
    (lines,) = (drawn for drawn in axes.collections if isinstance(drawn, LineCollection))
    values = np.asarray(lines.get_array())
    assert np.count_nonzero(values) == 1 and values.max() == 0.5
    start, end = np.asarray(lines.get_segments()[values.argmax()])
    np.testing.assert_allclose((start + end) / 2, (2, 1))
    np.testing.assert_allclose(np.abs(end - start), (0.92, 0) if angle else (0, 0.92), atol=1e-9)
