"""How experiments are ranked, and what is said of their differences."""

import dataclasses
import re

import numpy as np

from softmax_regression.results.statistics import paired_difference
from softmax_regression.tools.ranking import Experiment, table, varying

COSTS = np.random.default_rng(0).gamma(0.3, 1.0, 1000).astype(np.float32)
OTHERS = np.random.default_rng(1).normal(0.0, 0.1, 1000)


def experiment(name: str, more: float, costs: bool = True, share: float = 0.1, **parameters: object) -> Experiment:
    """One whose images cost `more` than COSTS in the mean."""
    own = (COSTS + OTHERS - OTHERS.mean() + more).astype(np.float32) if more else COSTS
    figures = {"cost": float(own.mean()), "accuracy": 0.9, "accuracy_low": 0.88, "accuracy_high": 0.92}
    settings = {"lr": 0.1, "seed": 0, **parameters}
    return Experiment(name, settings, figures, ("digest", share), own if costs else None)


def test_the_lowest_cost_comes_first_with_the_parameters_that_vary() -> None:
    dear, same, best = experiment("dear", 0.5, lr=1.0), experiment("same", 0.001, lr=0.2), experiment("main", 0.0)
    rows = [line.split() for line in table([dear, best, same]).splitlines()]
    assert [row[0] for row in rows[1:]] == ["main", "same", "dear"]
    assert rows[0] == ["valid_cost", "above", "the", "best", "lr", "valid_accuracy", "(95", "%)"]
    assert rows[1][2:] == ["best", "0.1", "0.9000", "(0.8800", "to", "0.9200)"]
    assert (rows[2][5], rows[3][5]) == ("≈", "1.0")  # chance explains 0.001, and does not explain 0.5
    difference, error = paired_difference(dear.costs, best.costs)  # type: ignore[arg-type]
    assert rows[3][2:5] == [f"{difference:.5f}", "±", f"{error:.5f}"]


def test_each_is_compared_with_the_best_on_its_own_images() -> None:
    found = table([experiment("main", 0.0), experiment("b", 0.1, share=0.2), experiment("c", 0.2, share=0.2)])
    difference, error = paired_difference(experiment("", 0.2).costs, experiment("", 0.1).costs)  # type: ignore[arg-type]
    assert above(found) == ["best", "best", f"{difference:.5f} ± {error:.5f}"]


def test_where_nothing_is_known_nothing_is_said_to_differ() -> None:
    assert above(table([experiment("main", 0.0), experiment("c", 0.2, costs=False)])) == ["best", "not in the cache"]
    one, other = (
        dataclasses.replace(experiment(name, more), costs=np.array([more])) for name, more in (("a", 0.1), ("b", 0.2))
    )
    assert above(table([one, other])) == ["best", "0.10000 ± nan ≈"]


def above(table: str) -> list[str]:
    return [re.split("  +", line.strip())[2] for line in table.splitlines()[1:]]


def test_parameters_that_are_the_same_do_not_vary() -> None:
    assert varying([experiment("a", 0.0), experiment("b", 0.0, seed=1)]) == ["seed"]
    assert varying([]) == []
