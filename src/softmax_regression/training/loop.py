"""Mini-batch gradient descent: the loop over epochs and batches."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet
from softmax_regression.model import exact
from softmax_regression.model.cost import cross_entropy
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.training.batches import batches
from softmax_regression.training.recipe import Recipe, learning_rate
from softmax_regression.training.record import EpochRecord
from softmax_regression.training.share import ALONE, Share
from softmax_regression.training.state import TrainingState
from softmax_regression.training.steps import STEPS


def fit(training: ImageSet, recipe: Recipe, seed: int = 0, init_std: float = 0.01) -> SoftmaxRegression:
    """A model trained on the CPU from the seed's starting weights, with nothing held out.

    Raises UserError once the cost is no longer finite.
    """
    generator = torch.Generator().manual_seed(seed)
    model = SoftmaxRegression.random(training.model_shape, init_std, generator).to(recipe.dtype)
    state = TrainingState.start(model, generator)
    for cost in descend(state, training, recipe):
        _refuse_divergence(state, cost.item(), recipe)
    return state.model


def train(
    state: TrainingState, training: ImageSet, validation: ImageSet, recipe: Recipe, share: Share = ALONE
) -> Iterator[EpochRecord]:
    """Train as `descend` does; yield a record after each epoch.

    Raises UserError once the cost is no longer finite, or too large to be summed exactly.
    """
    for train_cost in descend(state, training, recipe, share):
        # The first worker measures; the others learn of it, so that all of them stop or none.
        measured = cost_and_accuracy(state.model, validation) if share.is_first else (0.0, 0.0)
        figures = torch.tensor(measured, dtype=torch.float64)
        share.broadcast([figures])
        record = EpochRecord(state.epochs_done - 1, train_cost.item(), *figures.tolist())
        _refuse_divergence(state, record.train_cost + record.valid_cost, recipe)
        yield record


def _refuse_divergence(state: TrainingState, cost: float, recipe: Recipe) -> None:
    if state.model.weight.abs().max() >= exact.LARGEST_WEIGHT or not math.isfinite(cost):
        raise UserError(f"epoch {state.epochs_done - 1}: the cost is no longer finite with lr = {recipe.lr}; lower it")


def descend(state: TrainingState, training: ImageSet, recipe: Recipe, share: Share = ALONE) -> Iterator[Tensor]:
    """Train the state's model, on the device it is on; yield each epoch's mean cost in nats, float64 [(models)].

    A cost is taken before its batch's update. The images are shuffled afresh each epoch. With a `share`, every worker
    must be given the same; all end with the same model.
    """
    device = state.model.weight.device
    images, labels = (torch.from_numpy(array).to(device) for array in (training.rows, training.labels))
    step = STEPS[recipe.implementation](state, recipe.momentum, recipe.weight_decay, share)
    steps_an_epoch = math.ceil(len(labels) / recipe.batch_size)
    while state.epochs_done < recipe.epochs:
        # Summed on the device in float64: reading each cost back would wait for the device at every step.
        cost_sum = torch.zeros(state.model.bias.shape[:-1], dtype=torch.float64, device=device)
        epoch = batches(images, labels, recipe.batch_size, state.generator, share, recipe.dtype)
        for taken, batch in enumerate(epoch, start=state.epochs_done * steps_an_epoch):
            rate = learning_rate(recipe.lr, recipe.lr_schedule, taken / (recipe.epochs * steps_an_epoch))
            cost_sum += step(batch, rate)
        state.epochs_done += 1
        yield cost_sum.cpu() / len(labels)


def cost_and_accuracy(model: SoftmaxRegression, images: ImageSet) -> tuple[float, float]:
    """Mean cost in nats and share of right predictions."""
    device = model.weight.device
    labels = torch.from_numpy(images.labels).to(device)
    log_probabilities = model.log_probabilities(torch.from_numpy(images.rows).to(device))
    right = (log_probabilities.argmax(-1) == labels).sum()
    return cross_entropy(log_probabilities, labels).item(), right.item() / len(labels)
