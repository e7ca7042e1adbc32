"""Holds out each tenth of the training images in turn, and prints what it costs: the table of docs/validation.md."""

from pathlib import Path

import numpy as np
import torch

from softmax_regression.base.running import run
from softmax_regression.data.images import ImageSet
from softmax_regression.data.parameters import Parameters
from softmax_regression.model import exact
from softmax_regression.model.arithmetic import set_threads
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.results.evaluation import Evaluation, Predictions, evaluate
from softmax_regression.results.statistics import DEVIATIONS, with_interval
from softmax_regression.tools import markdown
from softmax_regression.training.loop import descend
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.state import TrainingState


def main() -> None:
    """Train ten times as params.yaml says, in about a minute."""
    set_threads()
    parameters = Parameters.read(Path("params.yaml"))
    images = ImageSet.load(Path("data/train.safetensors"))
    rows = []
    for tenth, held_out in enumerate(np.array_split(np.arange(len(images)), 10), start=1):
        training = images.take(np.setdiff1d(np.arange(len(images)), held_out))
        generator = torch.Generator().manual_seed(parameters.seed)
        model = SoftmaxRegression.random(images.model_shape, parameters.init_std, generator)
        *_, before_updates = descend(TrainingState.start(model, generator), training, Recipe.of(vars(parameters)))
        weight, bias = model.weight.float().numpy(), model.bias.float().numpy()
        after, on_held_out = (
            evaluate(Predictions(*exact.predict(weight, bias, each.pixels, each.labels)), each.labels)
            for each in (training, images.take(held_out))
        )
        rows.append((tenth, f"{before_updates.item():.4f}", *_cells(after), *_cells(on_held_out)))
    header = ("tenth", "training, before each update", "training", "accuracy", "held out", "accuracy")
    print(markdown.table(header, rows))


def _cells(found: Evaluation) -> tuple[str, str]:
    error = DEVIATIONS * (found.cost_standard_error or 0)
    return (
        f"{found.cost:.4f} ± {error:.4f}",
        with_interval(found.accuracy, found.accuracy_low, found.accuracy_high),
    )


if __name__ == "__main__":
    run(main)
