"""Draws how the cost on the held-out images depends on the learning rate in the experiments on the present commit."""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from softmax_regression.base.errors import UserError
from softmax_regression.results.figures import save
from softmax_regression.tools.ranking import Experiment, varying

PICTURE = Path("figures/sweep.png")


def series(experiments: Iterable[Experiment]) -> dict[str, dict[float, float]]:
    """Validation cost by learning rate, one series for each setting of the other parameters that vary.

    The commit itself does not count. The key of a series names what is particular to it, "momentum 0.5, seed 1", and is
    empty where nothing but the learning rate varies.
    """
    counted = [each for each in experiments if not each.is_commit]
    others = [name for name in varying(counted) if name != "lr"]
    found: dict[str, dict[float, float]] = {}
    for each in counted:
        setting = ", ".join(f"{name} {each.parameters[name]}" for name in others)
        found.setdefault(setting, {})[each.parameters["lr"]] = each.figures["cost"]
    return {setting: dict(sorted(points.items())) for setting, points in sorted(found.items())}


def cost_over_lr(series: Mapping[str, Mapping[float, float]]) -> Figure:
    """Validation cost by learning rate, one line for each series under its name; the best point is named."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for marker, (name, points) in zip(itertools.cycle("os^Dv<>p"), series.items(), strict=False):
        axes.plot(list(points), list(points.values()), marker=marker, label=name)
    cost, lr = min((cost, lr) for points in series.values() for lr, cost in points.items())
    axes.annotate(f"{cost:.4f} at {lr:g}", (lr, cost), (0, -14), textcoords="offset points", ha="center")
    axes.set_xscale("log")
    rates = sorted({lr for points in series.values() for lr in points})
    axes.set_xticks(rates, [f"{lr:g}" for lr in rates])
    axes.minorticks_off()
    axes.margins(0.12)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("validation cost (nats)")
    axes.grid(alpha=0.3)
    if len(series) > 1:
        axes.legend()
    return figure


def draw(experiments: Iterable[Experiment]) -> str:
    """Draw the experiments into PICTURE; return what it shows. Raises UserError where there is none."""
    points = series(experiments)
    if not points:
        raise UserError("no experiment on this commit has finished: queue some with dvc exp run --queue, or make sweep")
    save(cost_over_lr(points), PICTURE)
    return f"{PICTURE}: validation cost over lr, {sum(map(len, points.values()))} experiments"
