"""Draws how validation accuracy depends on the learning rate in the experiments on the present commit."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dvc.api

from softmax_regression import files
from softmax_regression.errors import UserError, exit_on_user_error
from softmax_regression.figures import accuracy_over_lr
from softmax_regression.parameters import Parameters

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


def main() -> None:
    """Draw the experiments that `dvc exp show` lists."""
    points = series(dvc.api.exp_show())
    if not points:
        raise UserError("no experiment on this commit has finished: queue some with dvc exp run --queue, or make sweep")
    with files.replacing(PICTURE) as temporary:
        accuracy_over_lr(points).savefig(temporary, dpi=100, metadata={"Software": None})
    print(f"{PICTURE}: validation accuracy over lr, {sum(map(len, points.values()))} experiments")


if __name__ == "__main__":
    exit_on_user_error(main)
