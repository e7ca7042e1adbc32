"""Mini-batch gradient descent: one loop, and two ways to take a step."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from softmax_regression.batches import Batch, batches
from softmax_regression.errors import UserError
from softmax_regression.images import ImageSet
from softmax_regression.model import SoftmaxRegression, cross_entropy, cross_entropy_sum, log_softmax, true_class
from softmax_regression.workers import ALONE, Share

Step = Callable[[Batch, float], Tensor]
"""Takes a batch and a learning rate, updates the model, and returns the batch's mean cost in nats, [(models)], from
before the update."""


@dataclass(frozen=True)
class EpochRecord:
    """What one pass over the training images came to; costs in nats."""

    epoch: int
    train_cost: float
    """Mean over the training images, each taken before its batch's update."""
    valid_cost: float
    """Mean over the held-out images after the epoch."""
    valid_accuracy: float


@dataclass(frozen=True)
class Recipe:
    """How to descend; params.yaml says what each of them means and may be."""

    implementation: str
    lr: float
    lr_schedule: str
    epochs: int
    batch_size: int
    momentum: float
    weight_decay: float


def train(
    model: SoftmaxRegression,
    training: ImageSet,
    validation: ImageSet,
    recipe: Recipe,
    generator: torch.Generator,
    velocity: SoftmaxRegression | None = None,
    done: int = 0,
    share: Share = ALONE,
) -> Iterator[EpochRecord]:
    """Train `model` in place as `descend` does; yield a record after each epoch.

    Raises UserError once the cost is no longer finite.
    """
    for epoch, train_cost in enumerate(descend(model, training, recipe, generator, velocity, done, share), start=done):
        # The first worker measures; the others learn of it, so that all of them stop or none.
        measured = torch.tensor(
            cost_and_accuracy(model, validation) if share.rank == 0 else (0, 0), dtype=torch.float64
        )
        share.from_first([measured])
        record = EpochRecord(epoch, train_cost.item(), *measured.tolist())
        if not math.isfinite(record.train_cost + record.valid_cost):
            raise UserError(f"epoch {epoch}: the cost is no longer finite with lr = {recipe.lr}; lower it")
        yield record


def descend(
    model: SoftmaxRegression,
    training: ImageSet,
    recipe: Recipe,
    generator: torch.Generator,
    velocity: SoftmaxRegression | None = None,
    done: int = 0,
    share: Share = ALONE,
) -> Iterator[Tensor]:
    """Train `model` in place, on the device it is on; yield each epoch's mean cost in nats, float64 [(models)] there.

    A cost is taken before its batch's update. The images are shuffled afresh each epoch with `generator`, a CPU
    generator so that every device sees the same order. With the model, the `velocity` (updated in place, 0 where none
    is given) and the generator as they were after `done` epochs, a descent goes on as if nothing had interrupted it.
    With a `share`, every worker must be given the same; all end with the same model.
    """
    device = model.weight.device
    images, labels = (torch.from_numpy(array).to(device) for array in (training.pixels, training.labels))
    velocity = model.zeros() if velocity is None else velocity
    step = STEPS[recipe.implementation](model, velocity, recipe.momentum, recipe.weight_decay, share)
    steps_an_epoch = math.ceil(len(labels) / recipe.batch_size)
    steps, taken = recipe.epochs * steps_an_epoch, done * steps_an_epoch
    for _ in range(done, recipe.epochs):
        # Summed on the device in float64: reading each cost back would wait for the device at every step.
        cost_sum = torch.zeros(model.bias.shape[:-1], dtype=torch.float64, device=device)
        for batch in batches(images, labels, recipe.batch_size, generator, share):
            rate = learning_rate(recipe.lr, recipe.lr_schedule, taken / steps)
            cost_sum.add_(step(batch, rate), alpha=batch.size)
            taken += 1
        yield cost_sum / len(labels)


def learning_rate(lr: float, schedule: str, progress: float) -> float:
    """The learning rate after a share `progress` of all steps, 0 to 1 (cosine: Loshchilov and Hutter, SGDR, eq. 5)."""
    return lr * {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}[schedule]


def cost_and_accuracy(model: SoftmaxRegression, images: ImageSet) -> tuple[float, float]:
    """Mean cost in nats and share of right predictions."""
    device = model.weight.device
    labels = torch.from_numpy(images.labels).to(device)
    log_probabilities = model.log_probabilities(torch.from_numpy(images.pixels).to(device))
    accuracy = (log_probabilities.argmax(-1) == labels).double().mean()
    return cross_entropy(log_probabilities, labels).item(), accuracy.item()


def scratch_step(
    model: SoftmaxRegression, velocity: SoftmaxRegression, momentum: float, weight_decay: float, share: Share = ALONE
) -> Step:
    """The gradient written out: the cost's derivative by the logits is the probabilities minus the one-hot target.

    So says Bishop, PRML, eq. 4.109. The update is torch.optim.SGD's: velocity ← momentum · velocity + gradient.
    """
    parameters, velocities = (model.weight, model.bias), (velocity.weight, velocity.bias)

    def gradients_and_cost(pixels: Tensor, labels: Tensor, batch_size: int) -> list[Tensor]:
        log_probabilities = log_softmax(model.logits(pixels))
        error = log_probabilities.exp()
        indices = true_class(error, labels)
        error.scatter_add_(-1, indices, error.new_full(indices.shape, -1))
        error /= batch_size
        cost = cross_entropy_sum(log_probabilities, labels) / batch_size
        return [(error.flatten(1).T @ pixels).view_as(model.weight), error.sum(0), cost]

    def step(batch: Batch, lr: float) -> Tensor:
        sums = gradients_and_cost(*next(batch.chunks), batch.size)
        for pixels, labels in batch.chunks:
            for total, addend in zip(sums, gradients_and_cost(pixels, labels, batch.size), strict=True):
                total += addend
        share.add_up(sums)
        *gradients, cost = sums
        for parameter, previous, gradient in zip(parameters, velocities, gradients, strict=True):
            previous.mul_(momentum).add_(gradient).add_(parameter, alpha=weight_decay)
            parameter.sub_(previous, alpha=lr)
        return cost

    return step


def builtin_step(
    model: SoftmaxRegression, velocity: SoftmaxRegression, momentum: float, weight_decay: float, share: Share = ALONE
) -> Step:
    """The same step from PyTorch's own parts: nn.Linear, CrossEntropyLoss, automatic gradients, optim.SGD."""
    *outputs, pixels = model.weight.shape
    linear = nn.Linear(pixels, math.prod(outputs), device="meta")
    # The layer's parameters share the model's memory, so training the layer trains the model.
    linear.weight, linear.bias = nn.Parameter(model.weight.flatten(0, -2)), nn.Parameter(model.bias.flatten())
    criterion = nn.CrossEntropyLoss(reduction="none")
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.0, momentum=momentum, weight_decay=weight_decay)
    # The optimizer's velocities share memory likewise; starting from 0 gives the bits that starting without them gives.
    optimizer.state[linear.weight]["momentum_buffer"] = velocity.weight.flatten(0, -2)
    optimizer.state[linear.bias]["momentum_buffer"] = velocity.bias.flatten()

    def step(batch: Batch, lr: float) -> Tensor:
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        total = torch.zeros_like(model.bias[..., 0])
        for pixels, labels in batch.chunks:
            logits = linear(pixels).view(-1, *outputs)
            # The classes go second, as the criterion wants them: logits [N, classes, (models)], labels [N, (models)].
            costs: Tensor = criterion(logits.movedim(-1, 1), true_class(logits, labels).squeeze(-1))
            cost = costs.sum(0) / batch.size
            # Each model's cost depends on its own weights alone, so the sum's gradient holds each one's own.
            cost.sum().backward()
            total += cost.detach()
        share.add_up([*(each.grad for each in linear.parameters() if each.grad is not None), total])
        optimizer.step()
        return total

    return step


STEPS = {"scratch": scratch_step, "builtin": builtin_step}


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`, held to repeatable sums; raises UserError where CUDA is missing."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("device = cuda: this machine has no usable CUDA device; set device to auto or cpu")
    if not available or name == "cpu":
        return torch.device("cpu")
    # Some of CUDA's kernels add in whatever order their threads end.
    torch.use_deterministic_algorithms(True)
    return torch.device("cuda")
