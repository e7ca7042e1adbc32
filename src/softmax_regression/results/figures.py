"""The pictures: arrays in, matplotlib figure out."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

# A notebook's MPLBACKEND, which its own matplotlib alone knows, would end the import.
os.environ.pop("MPLBACKEND", None)

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from softmax_regression.base.files import replacing
from softmax_regression.features.filters import ANGLES, SCALES
from softmax_regression.features.scattering import COEFFICIENTS, STRIDE
from softmax_regression.results.evaluation import CALIBRATION_BINS, calibration_error, confidence_bins
from softmax_regression.results.statistics import wilson_interval

matplotlib.rcdefaults()  # the pictures, and so dvc.lock, are the project's and not the user's matplotlibrc's

BLACK, GREY, RED = "#222222", "#bbbbbb", "#c1272d"
COLUMNS, COLUMNS_IN_COLOUR = 5, 3
WIDEST_TITLE = 18
"""Letters that fit above an image."""
LONGEST_NAME, LONGEST_LINE = 24, 28
"""Letters of a class's name, and of a line above an image; of longer ones the middle is left out."""
COLOURS = ("red", "green", "blue")
MOST_WEIGHTS = 100
"""Classes whose weights are drawn, and names beside the confusion matrix, at most."""
MOST_COUNTS = 40
"""Classes up to which the counts are written into the confusion matrix."""
ROOMY = 12
"""Classes, and letters of their names, up to which the confusion matrix has its usual size."""


def save(figure: Figure, path: Path, dpi: int = 100) -> None:
    """Write a figure, whole or not at all; raises UserError where the disk refuses."""
    with replacing(path) as temporary:
        # PNG whatever the name. Without the library's version in it, the picture changes only when what it shows does.
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})


def prediction_titles(predicted: Iterable[str], actual: Iterable[str]) -> list[str]:
    """What stands above images of the `actual` classes that a model predicts as others, or as the same."""
    return [f"predicted {guess}\nactual {label}" for guess, label in zip(predicted, actual, strict=True)]


def image_grid(
    images: np.ndarray, titles: Iterable[str], right: Iterable[bool] | None = None, shows: str = "strokes"
) -> Figure:
    """Images uint8 [N, height, width(, 3)] under their titles, in rows of five.

    One that is not `right` is marked by a thick frame and a cross before its title, not by colour alone. What their
    Preparation `shows` tells whether 0 is paper or black.
    """
    rows = max(1, -(-len(images) // COLUMNS))  # a model without mistakes has none to draw
    marks = [True] * len(images) if right is None else list(right)
    crossed = [title if is_right else f"✗ {title}" for title, is_right in zip(titles, marks, strict=True)]
    marked = ["\n".join(_shortened(line, LONGEST_LINE) for line in title.split("\n")) for title in crossed]
    lines = max((title.count("\n") + 1 for title in marked), default=1)
    longest = max((len(line) for title in marked for line in title.split("\n")), default=1)
    figure = Figure(figsize=(1.35 * COLUMNS, (1.4 + 0.17 * lines) * rows), layout="constrained")
    all_axes = _axes(figure, rows, COLUMNS, len(images))
    if not len(images):
        figure.text(0.5, 0.5, "none", ha="center", va="center", color=BLACK)
    for axes, image, title, is_right in zip(all_axes, images, marked, marks, strict=True):
        _show(axes, image, shows)
        # As many letters as an image is wide; "predicted T-shirt/top" would run into its neighbour.
        size, color = min(9, 9 * WIDEST_TITLE / longest), BLACK if is_right else RED
        axes.set_title(title, fontsize=size, color=color, parse_math=False)  # a class may be called $x$
        _frame(axes, GREY if is_right else RED, 0.8 if is_right else 3)
    return figure


def seen(
    pictures: Sequence[np.ndarray],
    titles: Sequence[str],
    boxes: Sequence[Sequence[float]],
    images: Sequence[np.ndarray],
    said: Sequence[str],
    shows: str,
) -> Figure:
    """Pictures, levels uint8 [rows, columns(, 3)] each; beside each the image that the model saw, and what it said.

    Of drawings a frame is around what was taken: left, top, right, bottom. What the Preparation of the images `shows`
    tells whether 0 is paper or black.
    """
    pairs_a_row = min(3, len(pictures))
    rows = -(-len(pictures) // pairs_a_row)
    figure = Figure(figsize=(3 * pairs_a_row, 1.75 * rows), layout="constrained")
    all_axes = iter(_axes(figure, rows, 2 * pairs_a_row, 2 * len(pictures)))
    for picture, title, (left, top, right, bottom), image, words in zip(
        pictures, titles, boxes, images, said, strict=True
    ):
        axes, axes_of_model = next(all_axes), next(all_axes)
        _show(axes, picture, "picture")
        if shows != "picture":  # of which all is taken
            corner, size = (left - 0.5, top - 0.5), (right - left, bottom - top)
            axes.add_patch(Rectangle(corner, *size, fill=False, edgecolor=RED, linewidth=1.5))
        _show(axes_of_model, image, shows)
        for each, text in ((axes, _shortened(title, LONGEST_LINE)), (axes_of_model, _shortened(words, LONGEST_LINE))):
            size_of_letters = min(9, 9 * WIDEST_TITLE / max(1, len(text)))
            each.set_title(text, fontsize=size_of_letters, color=BLACK, parse_math=False)
            _frame(each, GREY, 0.8)
    return figure


def weight_images(weight: np.ndarray, size: tuple[int, ...], classes: Sequence[str]) -> Figure:
    """Each class's weights [classes, pixels] as an image of `size` (height, width): white is 0, one scale for all.

    In colour, of `size` (height, width, 3), as three beside each other: those of red, of green and of blue. Of many
    classes the first ones.
    """
    height, width, *colours = size
    inches = (3.1, 1.65) if colours else (1.5, 1.75)
    columns, letters = (COLUMNS_IN_COLOUR, 2 * WIDEST_TITLE) if colours else (COLUMNS, WIDEST_TITLE - 2)
    figure, all_axes = _of_classes(classes, columns, inches, letters)
    for axes, row in zip(all_axes, weight[:MOST_WEIGHTS], strict=True):
        beside = np.concatenate(np.moveaxis(row.reshape(height, width, -1), 2, 0), axis=1)
        axes.imshow(beside, cmap="RdBu_r")
        if colours:
            axes.set_xticks((np.arange(3) + 0.5) * width - 0.5, COLOURS, fontsize=8)
            axes.tick_params(length=0)
            for edge in (width, 2 * width):
                axes.axvline(edge - 0.5, color=BLACK, linewidth=1.2)
    _set_scale(figure, [axes.images[0] for axes in all_axes], weight, "weight", classes)
    return figure


def feature_weights(weight: np.ndarray, size: tuple[int, ...], classes: Sequence[str]) -> Figure:
    """Which strokes speak for each class (red) and against it (blue), by its weights of the scattering's first order.

    At each place there is a star of eight strokes, of which each has the weights of the wavelets that it makes answer,
    of both scales and all colours together. Weights are [classes, features] of images of `size` (height, width(, 3)).
    """
    height, width = (-(-side // STRIDE) for side in size[:2])
    figure, all_axes = _of_classes(classes, COLUMNS, (1.9, 2.15), WIDEST_TITLE)
    by_order = weight.reshape(len(weight), -1, COEFFICIENTS, height, width)[:, :, 1 : 1 + SCALES * ANGLES]
    strokes = by_order.reshape(len(weight), -1, ANGLES, height, width).sum(1)
    angles, y, x = np.meshgrid(np.arange(ANGLES) * np.pi / ANGLES, np.arange(height), np.arange(width), indexing="ij")
    # Across the wave, in a picture whose rows are counted downwards.
    ends = 0.46 * np.stack([-np.sin(angles), np.cos(angles)], axis=-1)
    middles = np.stack([x, y], axis=-1)
    lines = np.stack([middles - ends, middles + ends], axis=-2).reshape(-1, 2, 2)
    for axes, found in zip(all_axes, strokes[:MOST_WEIGHTS], strict=True):
        order = np.argsort(np.abs(found), axis=None)  # the strongest on top
        axes.add_collection(
            LineCollection(list(lines[order]), array=found.ravel()[order], cmap="RdBu_r", linewidths=1.6)
        )
        axes.set(xlim=(-0.6, width - 0.4), ylim=(height - 0.4, -0.6), aspect="equal")
    _set_scale(figure, [axes.collections[0] for axes in all_axes], strokes, "weight of a stroke", classes)
    return figure


def confusion_matrix(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Counts [actual, predicted], written into each cell and shaded by their share of the row.

    The three most frequent confusions are framed. With more classes the figure grows, up to a size; beyond that the
    counts are left out, and at last the names of all but every second, third … class.
    """
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [_shortened(name, LONGEST_NAME) for name in classes]
    longest, crowded = max(map(len, names)), max(0, min(len(names), MOST_COUNTS) - ROOMY)
    more = 0.3 * crowded + 0.08 * max(0, longest - ROOMY)
    figure = Figure(figsize=(6.4 + more, 5.6 + more), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= MOST_COUNTS:
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=color)
    for row, column in most_confused(counts):
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=RED, linewidth=2))
    step = -(-len(names) // MOST_WEIGHTS)
    size = 10 if len(names) <= MOST_COUNTS else 6
    turned = 90 if longest > ROOMY or len(names) > ROOMY else 45 if longest > 3 else 0
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=turned, fontsize=size, parse_math=False)
    axes.set_yticks(range(0, len(names), step), names[::step], fontsize=size, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    figure.colorbar(drawn, ax=axes, label="share of the actual class")
    return figure


def most_confused(counts: np.ndarray, most: int = 3) -> list[tuple[int, int]]:
    """The cells (actual, predicted) off the diagonal with the highest counts, `most` at most, none that are 0."""
    wrong = counts - np.diag(counts.diagonal())
    ranked = np.argsort(-wrong, axis=None, kind="stable")[:most]
    cells = [divmod(int(cell), len(counts)) for cell in ranked]
    return [cell for cell in cells if wrong[cell]]


def reliability(confidence: np.ndarray, right: np.ndarray) -> Figure:
    """How often predictions [N] are right, over how probable the model says they are; below, how many there are.

    In the bins of the calibration error, with 95 % intervals. On the diagonal, stated probability and accuracy agree.
    """
    bins = confidence_bins(confidence)
    counts = np.bincount(bins, minlength=CALIBRATION_BINS)
    filled = counts > 0
    hits, stated = (np.bincount(bins, weights=each, minlength=CALIBRATION_BINS)[filled] for each in (right, confidence))
    accuracy = hits / counts[filled]
    low, high = wilson_interval(hits, counts[filled])
    figure = Figure(figsize=(4.8, 5.6), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], "--", color=GREY, label="stated = observed")
    errors = (accuracy - low, high - accuracy)
    above.errorbar(stated / counts[filled], accuracy, errors, fmt="o", color=BLACK, markersize=4, label="test images")
    above.set_ylabel("accuracy (95 %)")
    above.set_title(f"expected calibration error {calibration_error(confidence, right):.4f}", fontsize=10)
    above.legend()
    width = 1 / CALIBRATION_BINS
    bars = below.bar((np.arange(CALIBRATION_BINS) + 0.5) * width, counts, width * 0.9, color=GREY)
    below.bar_label(bars, [f"{count:,}" if count else "" for count in counts], fontsize=7)
    below.set_yscale("symlog")  # nine in ten images lie in the last bins
    below.set_ylim(0, 10 * counts.max())
    below.set_ylabel("images")
    below.set_xlabel("probability that the model states")
    return figure


def cost_curves(costs: Mapping[str, np.ndarray]) -> Figure:
    """Training and validation cost, and validation accuracy, over the epochs; the last values in figures."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    cost_axes, accuracy_axes = figure.subplots(1, 2)
    marker = "o" if len(costs["epoch"]) == 1 else ""  # a line of one point would not show
    for name, style, label in (("train_cost", "-", "training"), ("valid_cost", "--", "validation")):
        color = BLACK if style == "-" else RED
        cost_axes.plot(costs["epoch"], costs[name], style, marker=marker, label=label, color=color)
    accuracy_axes.plot(costs["epoch"], costs["valid_accuracy"], "--", marker=marker, label="validation", color=RED)
    for axes, label in ((cost_axes, "cost (nats)"), (accuracy_axes, "accuracy")):
        for line in axes.lines:
            end, color = (line.get_xdata()[-1], line.get_ydata()[-1]), line.get_color()
            axes.annotate(f"{end[1]:.4f}", end, (0, 5), textcoords="offset points", fontsize=8, color=color, ha="right")
        axes.margins(y=0.12)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def _axes(figure: Figure, rows: int, columns: int, count: int) -> list[Axes]:
    """The first `count` axes of a grid; the others are taken away."""
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[count:]:
        axes.remove()
    return grid[:count]


def _of_classes(
    classes: Sequence[str], columns: int, inches: tuple[float, float], letters: int
) -> tuple[Figure, list[Axes]]:
    """A figure with framed axes for each class, of many for the first, `inches` each, under names of up to `letters`.

    Longer names are smaller.
    """
    names = [_shortened(name, LONGEST_NAME) for name in classes[:MOST_WEIGHTS]]
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(inches[0] * columns + 1, inches[1] * rows), layout="constrained")
    all_axes = _axes(figure, rows, columns, len(names))
    for axes, name in zip(all_axes, names, strict=True):
        axes.set_title(name, fontsize=min(11, 11 * letters / max(1, len(name))), parse_math=False)
        _frame(axes, GREY, 0.8)
    return figure, all_axes


def _set_scale(
    figure: Figure, drawn: Sequence[ScalarMappable], values: np.ndarray, label: str, classes: Sequence[str]
) -> None:
    """One scale for what is drawn in all axes of `_of_classes`, in which white is 0, and its bar.

    It ends where 99.5 % of the values lie: a hot cluster in one class would make the others pale.
    """
    limit = float(np.quantile(np.abs(values), 0.995)) or 1.0
    for each in drawn:
        each.set_clim(-limit, limit)
    if len(classes) > MOST_WEIGHTS:
        label += f" (the first {MOST_WEIGHTS} of {len(classes)} classes)"
    rows = max(place.rowspan.stop for axes in figure.axes if (place := axes.get_subplotspec()))
    longer = max(1, rows / 2)  # than usual, though no wider
    slim, ends = 20 * longer, 0.05 / longer
    figure.colorbar(drawn[0], ax=figure.axes, label=label, shrink=0.85, extend="both", aspect=slim, extendfrac=ends)


def _show(axes: Axes, image: np.ndarray, shows: str) -> None:
    """Draw an image; where it shows a picture 0 is black, else it is the paper."""
    axes.imshow(image, cmap="gray" if shows == "picture" else "gray_r", vmin=0, vmax=255)


def _shortened(text: str, most: int) -> str:
    """At most so many letters: of names that begin or end alike, both ends are needed."""
    end = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - end]}…{text[-end:]}"


def _frame(axes: Axes, color: str, width: float) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=width)
