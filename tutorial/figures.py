"""The tutorial's curves: arrays in, matplotlib figure out."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from softmax_regression.results.figures import BLACK, GREY, RED

BLUE = "#2166ac"


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
