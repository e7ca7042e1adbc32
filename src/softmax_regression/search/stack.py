"""Trains many settings at once: a stack of models of one shape that see the same batches.

Its members have one seed, which gives the order of the images, one batch size and one number of epochs; all else may
differ. No sum is rounded (model/exact.py), so each member has the bytes of a training of its own, as steps.scratch_step
computes them, whatever is computed beside it.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from softmax_regression.data.images import ImageSet
from softmax_regression.model import exact
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.search.space import Setting
from softmax_regression.training.batches import batches
from softmax_regression.training.recipe import SCHEDULES, learning_rate
from softmax_regression.training.record import EpochRecord
from softmax_regression.training.state import TrainingState

KEPT_BYTES = 31 * 2**20
"""glibc keeps freed memory of up to twice the largest array that it has seen freed, where that is up to 32 MiB, and
hands back the rest (mallopt(3)): fresh pages at each step made a member's epoch on the digits take 0.6 ms, not 0.37."""


@dataclass
class Stack:
    """The members that are still trained, and their state; training changes it in place."""

    numbers: list[int]
    """Of the members, as their caller counts them."""
    settings: list[Setting]
    state: TrainingState
    """Its arrays are float64 [members, classes, pixels] and [members, classes]."""

    @classmethod
    def start(cls, numbers: Sequence[int], settings: Sequence[Setting], shape: tuple[int, int]) -> Self:
        """Of models of `shape` (classes, pixels), before the first step."""
        generator = torch.Generator()
        models = []
        for setting in settings:
            generator.manual_seed(setting.seed)
            models.append(SoftmaxRegression.random(shape, setting.init_std, generator))
        return cls([*numbers], [*settings], TrainingState.start(SoftmaxRegression.stack(models), generator))

    def remove(self, numbers: Collection[int]) -> None:
        """Go on without the members of these numbers."""
        kept = [place for place, number in enumerate(self.numbers) if number not in numbers]
        if len(kept) < len(self.numbers):
            self.numbers = [self.numbers[place] for place in kept]
            self.settings = [self.settings[place] for place in kept]
            self.state.model, self.state.velocity = (
                SoftmaxRegression(part.weight[kept], part.bias[kept])
                for part in (self.state.model, self.state.velocity)
            )


def train(
    stack: Stack, training: ImageSet, validation: ImageSet, until: int
) -> Iterator[dict[int, EpochRecord | None]]:
    """Train until so many epochs are done in all; yield after each the members' records, by their numbers.

    Each record is the one that loop.train gives for this setting alone. There is none where that raises UserError since
    the cost is no longer finite; the member has then left the stack.
    """
    np.empty(KEPT_BYTES, np.uint8)  # and freed
    while stack.numbers and stack.state.epochs_done < until:
        found = _epoch(stack, training, validation)
        records: dict[int, EpochRecord | None] = dict.fromkeys(stack.numbers)
        for number, finite, *figures in zip(stack.numbers, *(array.tolist() for array in found), strict=True):
            if finite:
                records[number] = EpochRecord(stack.state.epochs_done, *figures)
        stack.state.epochs_done += 1
        stack.remove([number for number, record in records.items() if record is None])
        yield records


@np.errstate(all="ignore")  # of members that diverge
def _epoch(
    stack: Stack, training: ImageSet, validation: ImageSet
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Go on by an epoch: whether all is finite, training cost, validation cost and accuracy, [members] each."""
    descent, setting = _Descent(stack), stack.settings[0]
    images, labels = torch.from_numpy(training.rows), torch.from_numpy(training.labels)
    steps = math.ceil(len(labels) / setting.batch_size)
    cost_sum = np.zeros(len(stack.numbers))
    epoch = batches(images, labels, setting.batch_size, stack.state.generator, dtype=images.dtype)
    for taken, batch in enumerate(epoch, start=stack.state.epochs_done * steps):
        for pixels, targets in batch.chunks:
            descent.add(pixels, targets.numpy(), batch.size)
        cost_sum += descent.step(batch.size, taken / (setting.epochs * steps))
    train_cost = cost_sum / len(labels)
    valid_cost, valid_accuracy = descent.cost_and_accuracy(validation)
    within = np.abs(descent.weight).max((-1, -2)) < exact.LARGEST_WEIGHT
    return within & np.isfinite(train_cost + valid_cost), train_cost, valid_cost, valid_accuracy


class _Descent:
    """Steps of all members, whose arrays it shares with their stack; and what the present batch has come to so far."""

    def __init__(self, stack: Stack) -> None:
        # Weights [members, classes, pixels], biases [members, classes, 1], what differs by member [members, 1, 1].
        self.weight, self.bias = stack.state.model.weight.numpy(), stack.state.model.bias.numpy()[..., None]
        velocity = stack.state.velocity
        self.velocities = velocity.weight.numpy(), velocity.bias.numpy()[..., None]
        # The places that have a gradient, int64 [places], and the gradient there, float64 [members * classes, places].
        self.gradient = self.no_gradient = torch.arange(0), torch.from_numpy(self.weight[..., :0]).flatten(0, 1)
        self.bias_gradient = np.zeros_like(self.bias)
        self.lr, self.momentum, self.weight_decay = (
            np.array([getattr(setting, name) for setting in stack.settings])[:, None, None]
            for name in ("lr", "momentum", "weight_decay")
        )
        self.schedules = [setting.lr_schedule for setting in stack.settings]
        self.costs = np.zeros((len(stack.settings), 2))
        self.on_grid = exact.weights_on_grid(self.weight)

    def log_softmax(self, places: np.ndarray, pixels: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities and probabilities [members, N, classes] for what `_not_blank` gives, by one product."""
        members, classes, _ = self.weight.shape
        weight = torch.from_numpy(self.on_grid.take(places, -1).reshape(members * classes, -1))
        logits = exact.logits_on_grid(weight, torch.from_numpy(self.bias.reshape(-1)), pixels).mT.numpy()
        return exact.log_softmax(logits.reshape(members, classes, -1).swapaxes(-1, -2))

    def add(self, rows: Tensor, labels: np.ndarray, batch_size: int) -> None:
        """Add the gradient and the cost of a part of a batch: rows of images [N, pixels] and labels int64 [N]."""
        members, classes, width = self.weight.shape
        places, seen = _not_blank(rows)
        log_p, error = self.log_softmax(places, seen)
        error -= (np.arange(classes)[:, None] == labels).astype(np.float64).T
        error = exact.to_grid(error, 2.0 ** -exact.bits_left(batch_size, "images in a batch"))
        errors = torch.from_numpy(error.swapaxes(-1, -2).reshape(members * classes, -1))
        gradient = torch.from_numpy(places), exact.product(errors, seen)
        if len(self.gradient[0]):
            total = torch.zeros(members * classes, width, dtype=torch.float64)
            for where, part in (self.gradient, gradient):
                total.index_add_(1, where, part)
            gradient = torch.arange(width), total
        self.gradient = gradient
        self.bias_gradient += error.sum(-2)[..., None]
        self.costs += _sum_costs(log_p, labels, batch_size)

    def step(self, batch_size: int, progress: float) -> np.ndarray:
        """Update the models by the batch that was added; return the sum of its costs before that, [members]."""
        # A schedule's rate is a product with lr, so the other factor is the rate of 1.
        shares = {schedule: learning_rate(1.0, schedule, progress) for schedule in SCHEDULES}
        rate = self.lr * np.array([shares[schedule] for schedule in self.schedules])[:, None, None]
        for velocity in self.velocities:
            velocity *= self.momentum
        places, gradient = self.gradient
        gradient *= 1 / (255 * batch_size)
        # Elsewhere it is 0, and not added, so that an epoch takes 0.95 of the time. A velocity may then be −0.0 that is
        # 0.0 alone, but only after it was negative, which leaves no weight at −0.0; and to any other it is the same.
        torch.from_numpy(self.velocities[0]).view(len(gradient), -1).index_add_(1, places, gradient)
        self.velocities[1][:] += self.bias_gradient * (1 / batch_size)
        for parameter, velocity in zip((self.weight, self.bias), self.velocities, strict=True):
            for member in np.flatnonzero(self.weight_decay):  # and no other, as −0.0 + 0.0 would be 0.0
                velocity[member] += parameter[member] * self.weight_decay[member]
            parameter -= velocity * rate
        cost, self.gradient = self.costs.sum(-1), self.no_gradient
        self.bias_gradient.fill(0)
        self.costs.fill(0)
        self.on_grid = exact.weights_on_grid(self.weight)
        return cost

    def cost_and_accuracy(self, images: ImageSet) -> tuple[np.ndarray, np.ndarray]:
        """Mean cost in nats and share of right predictions, [members] each."""
        costs, right = np.zeros_like(self.costs), np.zeros(len(self.weight))
        for start in range(0, len(images), exact.CHUNK_IMAGES):
            part = images.part(start, start + exact.CHUNK_IMAGES)
            log_p, _ = self.log_softmax(*_not_blank(torch.from_numpy(part.rows)))
            costs += _sum_costs(log_p, part.labels, len(images))
            right += (log_p.argmax(-1) == part.labels).sum(-1)
        return costs.sum(-1) / len(images), right / len(images)


def _not_blank(rows: Tensor) -> tuple[np.ndarray, Tensor]:
    """The places at which not all of these images are 0, int64 [places], and the pixels there, float64 [N, places].

    The others add 0 to every sum. Of 256 images of MNIST 555 places of 784 are left, and an epoch takes 0.86 of the
    time.
    """
    everywhere = rows.numpy()
    places = np.flatnonzero(np.bitwise_or.reduce(everywhere, 0))
    return places, torch.from_numpy(everywhere.take(places, 1)).double()


def _sum_costs(log_p: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The costs of images that are a part of `count`, in exact.sum_costs' two parts [members, 2]."""
    return exact.sum_costs(-log_p[:, np.arange(len(labels)), labels], count)
