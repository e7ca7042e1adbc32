"""The pictures of a search: its members in, matplotlib figures out."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import Locator, LogLocator, MaxNLocator

from softmax_regression.results.figures import BLACK, RED
from softmax_regression.results.tables import varying
from softmax_regression.search.member import Member
from softmax_regression.search.results import Result, results_of

BLUE = "#0072b2"
"""The colour-blind tell it from RED."""
MARKERS = "os^Dv<>pP"
FEW = len(MARKERS)
"""Values of a parameter up to which each has a tick, or a marker, of its own."""
BEST_LINES, BEST_ROWS = 10, 20
"""Settings that stand out among the parallel coordinates, and settings whose seeds are drawn, at most."""
SPREAD = 0.09
"""Share of an axis over which the lines through one value are fanned out."""
ABOVE, DIVERGED = 1.07, 1.14
"""Where costs lie that their axis, from 0 to 1, does not reach."""
WORDS = {
    "init_std": "initial standard\ndeviation",
    "lr": "learning\nrate",
    "lr_schedule": "learning rate\nschedule",
    "batch_size": "batch\nsize",
    "weight_decay": "weight\ndecay",
}
"""What those parameters are called whose names are no words."""


def draw(members: Iterable[Member]) -> dict[str, Figure]:
    """The pictures of a finished search that make sense, by name: cost_over_lr, parallel_coordinates, seeds."""
    results = results_of(members)
    trained = [result for result in results if result.is_trained]
    if not trained:
        return {}
    names = varying(vars(result.setting) for result in results)
    repeated = [result for result in trained if len(result.costs) > 1]
    figures = {}
    if "lr" in names or not (names or repeated):  # of one training a dot, as DVC expects a picture
        figures["cost_over_lr"] = cost_over_lr(results)
    if set(names) - {"lr"}:
        figures["parallel_coordinates"] = parallel_coordinates(results)
    if repeated:
        figures["seeds"] = seeds(repeated)
    return figures


def cost_over_lr(results: Sequence[Result]) -> Figure:
    """Validation cost over the learning rate, a colour for each momentum; of results sorted as by `results_of`.

    Where momentum does not vary, another parameter has the colours. Lines join the best at each learning rate, unless
    learning rates were drawn: neighbours then differ in everything.
    """
    others = [name for name in varying(vars(result.setting) for result in results) if name != "lr"]
    name = "momentum" if "momentum" in others or not others else others[0]
    is_joined = not others or 2 * len({result.setting.lr for result in results}) <= len(results)
    places, _ = scale(_values(results, name))
    highest = highest_shown(results)
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes, *strips = _axes_and_strip(figure, results, highest)
    for group, marker in zip(_groups(results, name), MARKERS, strict=False):
        colours = [_shade(places[value]) for value in _values(group, name)]
        _dots(axes, group, [each.cost if each.cost <= highest else math.nan for each in group], colours, marker)
        for strip in strips:
            rows = [math.nan if each.cost <= highest else float(math.isinf(each.cost)) for each in group]
            _dots(strip, group, rows, colours, marker)
        if is_joined:
            _join_best(axes, [each for each in group if each.cost <= highest], colours[0], marker)
    _label(axes, results, highest)
    if is_joined and any(len(result.costs) > 1 for result in results):
        axes.set_ylabel("validation cost ± standard error (nats)")
    lines = "\nlines join the best at each learning rate" * (is_joined and len(others) > 1)
    figure.axes[0].set_title(_what_is_shown(results) + lines, fontsize=10)
    _explain(figure, results, name, is_joined)
    return figure


def _explain(figure: Figure, results: Sequence[Result], name: str, is_joined: bool) -> None:
    """Beside the axes, what colours and markers stand for."""
    places, ticks = scale(_values(results, name))
    markers = MARKERS if len(places) <= FEW else "o" * len(ticks)
    handles = [
        Line2D([], [], color=_shade(place), marker=marker, linestyle="-" if is_joined else "", label=label)
        for (place, label), marker in zip(ticks.items(), markers, strict=False)
    ]
    if any(result.is_stopped for result in results):
        hollow: dict[str, Any] = {"color": BLACK, "marker": "o", "fillstyle": "none", "linestyle": ""}
        handles.append(Line2D([], [], label="stopped at a\nrung: cost there", **hollow))
    figure.legend(handles=handles, title=WORDS.get(name, name), loc="outside right upper")


def highest_shown(results: Iterable[Result]) -> float:
    """The highest cost that an axis reaches, so that a few huge ones do not squeeze the rest.

    At most four times as far above the best as the middle one: there a parabola over evenly spaced settings ends, so
    that a whole valley is shown.
    """
    costs = sorted(result.cost for result in results if math.isfinite(result.cost))
    best, middle = costs[0], costs[len(costs) // 2]
    return max(cost for cost in costs if cost <= best + 4 * (middle - best) or middle == best)


def _is_wide(best: float, highest: float) -> bool:
    """Whether costs need a logarithmic axis."""
    return highest > 10 * best > 0


def scale(values: Sequence[Any]) -> tuple[dict[Any, float], dict[float, str]]:
    """The place of each value on an axis from 0 to 1; and its ticks, their labels by their places.

    Few values lie evenly, as words do. Of more, the axis is logarithmic where the middle one would else be in the
    lowest tenth, as it is where two decades are drawn from.
    """
    distinct = sorted(set(values))
    if len(distinct) <= FEW:
        even = np.linspace(0, 1, len(distinct)).tolist()
        return dict(zip(distinct, even, strict=True)), dict(zip(even, map(_text, distinct), strict=True))
    low, middle, high = distinct[0], sorted(values)[len(values) // 2], distinct[-1]
    return _scale_of_numbers(distinct, is_log=middle - low < 0.1 * (high - low))


def _scale_of_numbers(numbers: Sequence[float], is_log: bool) -> tuple[dict[float, float], dict[float, str]]:
    """As `scale`; where the axis is logarithmic, 0 lies a decade below the other numbers."""
    lowest, high = min(number for number in numbers if number > 0 or not is_log), max(numbers)
    low = lowest / 10 if lowest > min(numbers) else lowest
    transform = math.log if is_log else float
    span = transform(high) - transform(low) or 1

    def place(number: float) -> float:
        return (transform(max(number, low)) - transform(low)) / span

    locator = _log_locator(lowest, high) if is_log else MaxNLocator(6)
    ticks = {place(tick): f"{tick:g}" for tick in locator.tick_values(lowest, high) if lowest <= tick <= high}
    return {number: place(number) for number in numbers}, ({0.0: "0"} if low < lowest else {}) | ticks


def _log_locator(low: float, high: float) -> Locator:
    if high < 10 * low:
        return MaxNLocator(6)  # powers of ten may be none
    return LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,))


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(results: Iterable[Result], name: str) -> list[Any]:
    return [getattr(result.setting, name) for result in results]


def _groups(results: Sequence[Result], name: str) -> list[list[Result]]:
    """The results of each value, in order; or all together where the values are many."""
    found: dict[Any, list[Result]] = {}
    for result, value in zip(results, _values(results, name), strict=True):
        found.setdefault(value, []).append(result)
    return [found[value] for value in sorted(found)] if len(found) <= FEW else [[*results]]


def _shade(place: float) -> tuple[float, float, float, float]:
    return to_rgba(colormaps["viridis"](0.85 * place))  # the yellow at its end is pale on white


def _axes_and_strip(figure: Figure, results: Iterable[Result], highest: float) -> list[Axes]:
    """The axes, and where costs are beyond the highest shown, a strip above for them."""
    if all(result.cost <= highest for result in results):
        return [figure.subplots()]
    strip, axes = figure.subplots(2, sharex=True, height_ratios=(1, 8))
    strip.set_yticks([0, 1], [f"above {highest:.2g}", "diverged"])
    strip.set_ylim(-0.7, 1.7)
    strip.tick_params(axis="x", which="both", length=0)
    return [axes, strip]


def _dots(axes: Axes, group: Sequence[Result], heights: Sequence[float], colours: Sequence[Any], marker: str) -> None:
    """A dot for each setting, hollow where it was stopped."""
    faces = ["none" if result.is_stopped else colour for result, colour in zip(group, colours, strict=True)]
    rates = _values(group, "lr")
    axes.scatter(rates, heights, s=14, c=faces, marker=marker, edgecolors=colours, linewidths=0.7)


def _join_best(axes: Axes, group: Iterable[Result], colour: Any, marker: str) -> None:
    """Join the best at each learning rate, with its standard error, of those that were trained to the end."""
    best: dict[float, tuple[float, float]] = {}
    for result in group:
        if not result.is_stopped:
            best.setdefault(result.setting.lr, (result.cost, result.error))
    rates = sorted(best)
    means, errors = [best[lr][0] for lr in rates], [best[lr][1] for lr in rates]
    axes.errorbar(rates, means, errors, color=colour, marker=marker, capsize=3)


def _label(axes: Axes, results: Sequence[Result], highest: float) -> None:
    """The best in figures, the scales of the axes and their names."""
    lr, cost, rates = results[0].setting.lr, results[0].cost, sorted(set(_values(results, "lr")))
    axes.annotate(f"{cost:.4f} at {lr:g}", (lr, cost), (0, -14), textcoords="offset points", ha="center")
    axes.set_xscale("log")
    _set_log_ticks(axes.xaxis, rates[0], rates[-1])
    room = (rates[-1] / rates[0]) ** 0.1  # a tenth of the axis, for a label
    if len(rates) <= FEW and all(above / below > room for below, above in itertools.pairwise(rates)):
        axes.set_xticks(rates, [*map(_text, rates)])
    if _is_wide(cost, highest):
        axes.set_yscale("log")
        _set_log_ticks(axes.yaxis, cost, highest)
    axes.margins(0.12)  # for the best in figures, be it at an end
    axes.set_xlabel("learning rate")
    axes.set_ylabel("validation cost (nats)")
    axes.grid(alpha=0.3)


def _set_log_ticks(axis: Axis, low: float, high: float) -> None:
    axis.set_major_locator(_log_locator(low, high))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def _what_is_shown(results: Sequence[Result]) -> str:
    most = max(len(result.costs) for result in results)
    return f"{len(results):,} settings" + f", each the mean over {most} seeds" * (most > 1)


def parallel_coordinates(results: Sequence[Result]) -> Figure:
    """Each setting as a line across the parameters that vary, to its validation cost; sorted as by `results_of`.

    Lines through the same value are fanned out, the best at the bottom: else they would hide each other. In red below
    each axis stands the best.
    """
    names = varying(vars(result.setting) for result in results)
    figure = Figure(figsize=(1.6 * len(names) + 2.4, 5), layout="constrained")
    axes = figure.subplots()
    columns = []
    for x, name in enumerate(names):
        values = _values(results, name)
        places, ticks = scale(values)
        columns.append(_fanned_out(values, places))
        _draw_axis(axes, x, ticks, "right", _text(values[0]))
    heights, ticks = _costs_upright(results)
    _draw_axis(axes, len(names), ticks, "left", f"{results[0].cost:.4f}")
    _draw_lines(axes, results, [[*enumerate(line)] for line in zip(*columns, heights, strict=True)])
    if DIVERGED in heights:
        axes.plot(len(names), DIVERGED, "x", color=BLACK)
    axes.set_xticks(range(len(names) + 1), [*(WORDS.get(name, name) for name in names), "validation\ncost (nats)"])
    axes.set_xlim(-0.4, len(names) + 0.45)
    axes.set_ylim(-0.16, 1.18)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    figure.suptitle(_what_is_shown(results), fontsize=10)
    figure.legend(loc="outside lower center", ncols=min(5, len(names) + 1), reverse=True)
    return figure


def _fanned_out(values: Sequence[Any], places: Mapping[Any, float]) -> list[float]:
    """The places, those of equal values side by side in their order."""
    count, taken, fanned = Counter(values), Counter[Any](), []
    for value in values:
        taken[value] += 1
        fanned.append(places[value] + SPREAD * ((taken[value] - 0.5) / count[value] - 0.5))
    return fanned


def _costs_upright(results: Sequence[Result]) -> tuple[list[float], dict[float, str]]:
    """The places of the costs, and the ticks; those beyond the highest shown lie together."""
    highest = highest_shown(results)
    shown = [result.cost for result in results if result.cost <= highest]
    places, ticks = _scale_of_numbers(shown, _is_wide(min(shown), highest))
    heights = [places.get(result.cost, DIVERGED if math.isinf(result.cost) else ABOVE) for result in results]
    beyond = {ABOVE: f"above {highest:.2g}", DIVERGED: "diverged"}
    return heights, ticks | {place: label for place, label in beyond.items() if place in heights}


def _draw_axis(axes: Axes, x: int, ticks: Mapping[float, str], labels_end: str, best: str) -> None:
    axes.plot([x, x], [-0.05, 1.05], color=BLACK, linewidth=0.9, zorder=4)
    axes.plot([x] * len(ticks), [*ticks], "_", color=BLACK, zorder=4)
    paper = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.8}  # labels lie upon lines
    style: dict[str, Any] = {"ha": labels_end, "va": "center", "fontsize": 9, "zorder": 5, "bbox": paper}
    offset = (-6 if labels_end == "right" else 6, 0)
    for y, label in ticks.items():
        axes.annotate(label, (x, y), offset, textcoords="offset points", **style)
    axes.text(x, -0.11, best, ha="center", va="center", color=RED)


def _draw_lines(axes: Axes, results: Sequence[Result], lines: Sequence[Sequence[tuple[float, float]]]) -> None:
    """The line of each result, a point on each axis; the best on top."""
    trained = sum(result.is_trained for result in results)
    few = min(BEST_LINES, trained, math.ceil(len(results) / 4))  # where most stand out, none does
    grey = to_rgba(BLACK, max(0.15, min(0.6, 60 / len(results))))  # a thousand lines would be a black wall
    styles: dict[str, dict[str, Any]] = {
        "stopped at a rung": {"color": grey, "linewidth": 0.6, "linestyle": "dashed"},
        "trained to the end": {"color": grey, "linewidth": 0.6},
        "diverged": {"color": BLACK, "linewidth": 0.9, "linestyle": "dotted"},
        f"next {few - 1}": {"color": BLUE, "linewidth": 1.3},
        "best": {"color": RED, "linewidth": 2.4},
    }
    stopped, to_the_end, diverged, following, best = styles
    kinds = [best] + [following] * (few - 1) + [to_the_end] * (trained - few)
    kinds += [diverged if math.isinf(result.cost) else stopped for result in results[trained:]]
    for order, (kind, style) in enumerate(styles.items()):
        if kind in kinds:
            chosen = [line for line, each in zip(lines, kinds, strict=True) if each == kind]
            axes.add_collection(LineCollection(chosen, label=kind, zorder=2 + order / 5, **style))


def seeds(repeated: Sequence[Result]) -> Figure:
    """The cost of each seed, and their mean with its standard error, of the best settings; sorted by their costs.

    The parameters of each stand before it, as the line of a table.
    """
    highest = highest_shown(repeated)
    best = [result for result in repeated if result.cost <= highest][:BEST_ROWS]
    titles, rows = _table(best, varying(vars(result.setting) for result in repeated) or ["lr"])
    figure = Figure(figsize=(5 + 0.07 * len(rows[0]), 1.4 + 0.24 * len(best)), layout="constrained")
    axes = figure.subplots()
    numbers = [row for row, result in enumerate(best) for _ in result.costs]
    costs = np.concatenate([result.costs for result in best])
    axes.plot(costs, numbers, "o", color=BLUE, fillstyle="none", markersize=4, label="a seed")
    means, errors = [result.cost for result in best], [result.error for result in best]
    label = "mean ± standard error"
    axes.errorbar(means, range(len(best)), xerr=errors, fmt="|", color=BLACK, capsize=3, label=label)
    letters: dict[str, Any] = {"family": "monospace", "fontsize": 8}
    axes.set_yticks(range(len(best)), rows, **letters)
    axes.tick_params(axis="y", length=0, pad=8)
    axes.annotate(titles, (0, 1), (-8, 3), "axes fraction", "offset points", ha="right", **letters)
    axes.set_ylim(len(best) - 0.4, -0.6)
    axes.set_xlabel("validation cost (nats)")
    axes.grid(alpha=0.3)
    axes.set_title(f"the best {len(best)} of {len(repeated)} settings" * (len(best) < len(repeated)), fontsize=10)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _table(results: Iterable[Result], names: Sequence[str]) -> tuple[str, list[str]]:
    """Two lines of titles, and a line for each result, in columns."""
    columns = [[*["", *WORDS.get(name, name).split("\n")][-2:], *map(_text, _values(results, name))] for name in names]
    widths = [max(map(len, column)) for column in columns]
    lines = ["  ".join(map(str.rjust, row, widths)) for row in zip(*columns, strict=True)]
    return "\n".join(lines[:2]), lines[2:]
