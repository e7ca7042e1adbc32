"""Draws how validation accuracy depends on the learning rate in the experiments on the present commit."""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dvc.api
from matplotlib.figure import Figure

from softmax_regression.base.errors import UserError
from softmax_regression.base.running import run
from softmax_regression.data.parameters import Parameters
from softmax_regression.results.figures import save

PICTURE = Path("figures/sweep.png")


def series(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[float, float]]:
    """Validation accuracy by learning rate, one series for each setting of the other parameters that vary.

    `rows` are those of dvc.api.exp_show. Only finished experiments count; the key of a series names what is particular
    to it, "momentum 0.5, seed 1", and is empty where nothing but the learning rate varies.
    """
    finished = [
        row
        for row in rows
        if row["Experiment"] and row["State"] in (None, "Success") and isinstance(row["valid_accuracy"], float)
    ]
    others = [name for name in Parameters.model_fields if name != "lr" and len({row[name] for row in finished}) > 1]
    found: dict[str, dict[float, float]] = {}
    for row in finished:
        setting = ", ".join(f"{name} {_short(row[name])}" for name in others)
        found.setdefault(setting, {})[float(row["lr"])] = row["valid_accuracy"]
    return {setting: dict(sorted(points.items())) for setting, points in sorted(found.items())}


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


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


def main() -> None:
    """Draw the experiments that `dvc exp show` lists."""
    points = series(dvc.api.exp_show())
    if not points:
        raise UserError("no experiment on this commit has finished: queue some with dvc exp run --queue, or make sweep")
    save(accuracy_over_lr(points), PICTURE)
    print(f"{PICTURE}: validation accuracy over lr, {sum(map(len, points.values()))} experiments")


if __name__ == "__main__":
    run(main)
