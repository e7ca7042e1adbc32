"""Which experiments count, and how they are put in series."""

from typing import Any

import pytest
import yaml
from clone import ROOT

from softmax_regression.tools.sweep import series


def row(name: str | None, valid_accuracy: object, state: str | None = None, **changed: object) -> dict[str, Any]:
    """A row as dvc.api.exp_show gives it: numbers are floats."""
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text()) | changed
    floats = {key: float(value) if isinstance(value, int) else value for key, value in parameters.items()}
    return {"Experiment": name, "State": state, "valid_accuracy": valid_accuracy, **floats}


def test_one_series_in_the_order_of_the_learning_rates() -> None:
    rows = [row("a", 0.8, lr=0.5), row("b", 0.9, "Success", lr=0.1), row("c", 0.1, lr=1e-5)]
    assert {name: list(points.items()) for name, points in series(rows).items()} == {
        "": [(1e-5, 0.1), (0.1, 0.9), (0.5, 0.8)]
    }


def test_a_series_for_each_setting_of_the_others_that_vary() -> None:
    rows = [row(f"{epochs} {lr}", lr + epochs, lr=lr, epochs=epochs) for epochs in (1, 20) for lr in (0.25, 0.5)]
    assert series(rows) == {"epochs 1": {0.25: 1.25, 0.5: 1.5}, "epochs 20": {0.25: 20.25, 0.5: 20.5}}


@pytest.mark.parametrize(
    ("name", "accuracy", "state"),
    [(None, 0.9, None), ("queued", None, "Queued"), ("failed", "!", "Failed"), ("running", 0.9, "Running")],
)
def test_commits_and_unfinished_experiments_do_not_count(name: str | None, accuracy: object, state: str | None) -> None:
    assert series([row(name, accuracy, state), row("done", 0.5, lr=1.0)]) == {"": {1.0: 0.5}}
