"""The pictures: arrays in, matplotlib figure out."""

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

BLACK, GREY, RED, BLUE = "#222222", "#bbbbbb", "#c1272d", "#2166ac"


def image_grid(images: np.ndarray, titles: Iterable[str], columns: int, right: Iterable[bool] | None = None) -> Figure:
    """Images [N, height, width] under their titles, in rows of `columns`.

    One that is not `right` is marked by a thick frame and a cross before its title, not by colour alone.
    """
    rows = max(1, -(-len(images) // columns))  # a model without mistakes has none to draw
    figure = Figure(figsize=(1.35 * columns, 1.75 * rows), layout="constrained")
    all_axes = _axes(figure, rows, columns, len(images))
    marks = [True] * len(images) if right is None else right
    for axes, image, title, is_right in zip(all_axes, images, titles, marks, strict=True):
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(title if is_right else f"✗ {title}", fontsize=9, color=BLACK if is_right else RED)
        _frame(axes, GREY if is_right else RED, 0.8 if is_right else 3)
    return figure


def weight_images(weight: np.ndarray, size: tuple[int, int], classes: Sequence[str]) -> Figure:
    """Each class's weights [classes, pixels] as an image of `size` (height, width): white is 0, one scale for all."""
    columns = min(5, len(classes))
    rows = -(-len(classes) // columns)
    figure = Figure(figsize=(1.5 * columns + 1, 1.75 * rows), layout="constrained")
    limit = float(np.abs(weight).max()) or 1.0
    all_axes = _axes(figure, rows, columns, len(classes))
    for axes, row, name in zip(all_axes, weight, classes, strict=True):
        drawn = axes.imshow(row.reshape(size), cmap="RdBu_r", vmin=-limit, vmax=limit)
        axes.set_title(name, fontsize=11)
        _frame(axes, GREY, 0.8)
    figure.colorbar(drawn, ax=all_axes, label="weight", shrink=0.85)
    return figure


def confusion_matrix(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Counts [actual, predicted], written into each cell and shaded by their share of the row."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if share[row, column] > 0.5 else "black"
        axes.text(column, row, str(count), ha="center", va="center", fontsize=8, color=color)
    axes.set_xticks(range(len(classes)), classes, rotation=45 if max(map(len, classes)) > 3 else 0)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    figure.colorbar(drawn, ax=axes, label="share of the actual class")
    return figure


def cost_curves(costs: Mapping[str, np.ndarray]) -> Figure:
    """Training and validation cost, and validation accuracy, over the epochs."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    cost_axes, accuracy_axes = figure.subplots(1, 2)
    marker = "o" if len(costs["epoch"]) == 1 else ""  # a line of one point would not show
    for name, style, label in (("train_cost", "-", "training"), ("valid_cost", "--", "validation")):
        color = BLACK if style == "-" else RED
        cost_axes.plot(costs["epoch"], costs[name], style, marker=marker, label=label, color=color)
    accuracy_axes.plot(costs["epoch"], costs["valid_accuracy"], "--", marker=marker, label="validation", color=RED)
    for axes, label in ((cost_axes, "cost (nats)"), (accuracy_axes, "accuracy")):
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def printed_costs(
    printed: Mapping[int, float],
    lines: Mapping[str, np.ndarray],
    band: tuple[str, np.ndarray, np.ndarray] | None = None,
) -> Figure:
    """Printed costs, by epoch, over computed ones [epochs]: one line or two, and a named band (smallest, largest).

    Left as they are; right in percent of the first line, where the eye can tell them apart.
    """
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    first, reference = next(iter(lines.items()))
    epochs, printed_epochs = np.arange(len(reference)), np.array(list(printed))
    for axes, scale, shift in ((left, np.ones(len(reference)), 0), (right, 100 / reference, -100)):
        if band:
            name, *edges = band
            axes.fill_between(epochs, *(edge * scale + shift for edge in edges), color=GREY, label=name)
        for (name, costs), style, color in zip(lines.items(), ("-", "--"), (BLACK, RED), strict=False):
            axes.plot(epochs, costs * scale + shift, style, color=color, linewidth=1.2, label=name)
        marks = np.array(list(printed.values())) * scale[printed_epochs] + shift
        axes.plot(printed_epochs, marks, "o", color=BLUE, markersize=5, label="printed")
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    left.set_yscale("log")
    left.set_ylabel("cost (nats)")
    left.legend()
    right.set_ylabel(f"difference from {first} (%)")
    return figure


def learning_curve(sizes: np.ndarray, accuracies: np.ndarray, marked: Mapping[str, tuple[int, float]]) -> Figure:
    """Test accuracies [sizes, seeds] over the number of training images; beside them single models (size, accuracy)."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    median, seeds = np.median(accuracies, axis=1), accuracies.shape[1]
    axes.fill_between(sizes, accuracies.min(axis=1), accuracies.max(axis=1), color=GREY, alpha=0.6)
    axes.plot(sizes, median, "-", color=BLACK, linewidth=1.2, label=f"median of {seeds} seeds, and their range")
    axes.plot(np.repeat(sizes, seeds), accuracies.ravel(), "o", color=BLACK, markersize=3, label="one seed")
    for name, (size, accuracy) in marked.items():
        axes.plot(size, accuracy, "D", color=RED, markersize=7, label=name)
    for size, accuracy in zip(sizes, median, strict=True):
        axes.annotate(f"{accuracy:.1%}", (size, accuracy), (7, -13), textcoords="offset points", fontsize=9)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.set_xlim(right=2.2 * sizes[-1])  # room for the last label
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel("training images")
    axes.set_ylabel("test accuracy")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    return figure


def accuracy_over_lr(series: Mapping[str, Mapping[float, float]]) -> Figure:
    """Validation accuracy by learning rate, one line for each series under its name; the best point is named."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for marker, (name, points) in zip(itertools.cycle("os^Dv<>p"), series.items(), strict=False):
        axes.plot(list(points), list(points.values()), marker=marker, label=name)
    accuracy, lr = max((accuracy, lr) for points in series.values() for lr, accuracy in points.items())
    axes.annotate(f"{accuracy:.4f} at {lr:g}", (lr, accuracy), (0, 8), textcoords="offset points", ha="center")
    axes.set_xscale("log")
    rates = sorted({lr for points in series.values() for lr in points})
    axes.set_xticks(rates, [f"{lr:g}" for lr in rates])
    axes.minorticks_off()
    axes.margins(0.12)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("validation accuracy")
    axes.grid(alpha=0.3)
    if len(series) > 1:
        axes.legend()
    return figure


def _axes(figure: Figure, rows: int, columns: int, count: int) -> list[Axes]:
    """The first `count` axes of a grid; the others are taken away."""
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[count:]:
        axes.remove()
    return grid[:count]


def _frame(axes: Axes, color: str, width: float) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=color, linewidth=width)
