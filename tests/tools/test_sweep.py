"""How experiments are put in series."""

from softmax_regression.tools.ranking import Experiment
from softmax_regression.tools.sweep import cost_over_lr, series


def experiment(name: str, cost: float, **parameters: object) -> Experiment:
    return Experiment(name, {"lr": 0.1, "epochs": 30, **parameters}, {"cost": cost}, ("", 0.1), None)


def test_one_series_in_the_order_of_the_learning_rates() -> None:
    found = series([experiment("a", 0.8, lr=0.5), experiment("c", 2.1, lr=1e-5)])
    assert {name: list(points.items()) for name, points in found.items()} == {"": [(1e-5, 2.1), (0.5, 0.8)]}


def test_a_series_for_each_setting_of_the_others_that_vary() -> None:
    found = [
        experiment(f"{epochs} {lr}", lr + epochs, lr=lr, epochs=epochs) for epochs in (1, 20) for lr in (0.25, 0.5)
    ]
    assert series(found) == {"epochs 1": {0.25: 1.25, 0.5: 1.5}, "epochs 20": {0.25: 20.25, 0.5: 20.5}}


def test_the_lowest_cost_is_named() -> None:
    (axes,) = cost_over_lr({"seed 1": {0.1: 0.3, 0.2: 0.25}, "seed 2": {0.1: 0.28}}).axes
    assert [text.get_text() for text in axes.texts] == ["0.2500 at 0.2"]
