"""Mini-batch gradient descent: one loop, and two ways to take a step."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from softmax_regression.errors import UserError
from softmax_regression.images import ImageSet
from softmax_regression.model import SoftmaxRegression, cross_entropy, log_softmax, scale

Step = Callable[[Tensor, Tensor, float], Tensor]
"""Takes scaled pixels float32 [N, pixels], labels int64 [N] and a learning rate; updates the model; returns the
mean cost, in nats, from before the update."""


@dataclass(frozen=True)
class EpochRecord:
    """What one pass over the training images came to; costs in nats."""

    epoch: int
    train_cost: float
    """Mean over the images, each taken before its batch's update."""
    valid_cost: float
    """Mean over the held-out images after the epoch; NaN where none are held out. So is the accuracy."""
    valid_accuracy: float


def train(
    model: SoftmaxRegression,
    training: ImageSet,
    validation: ImageSet | None,
    *,
    implementation: str,
    lr: float,
    lr_schedule: str,
    epochs: int,
    batch_size: int,
    momentum: float,
    weight_decay: float,
    generator: torch.Generator,
) -> Iterator[EpochRecord]:
    """Train `model` in place, on the device it is on; yield a record after each epoch.

    The images are shuffled afresh each epoch with `generator`, a CPU generator so that every device sees the same
    order; a batch that holds them all is not shuffled. Raises UserError when the cost is no longer finite.
    """
    device = model.weight.device
    images, labels = (torch.from_numpy(array).to(device) for array in (training.pixels, training.labels))
    step = STEPS[implementation](model, momentum, weight_decay)
    batches = math.ceil(len(labels) / batch_size)
    for epoch in range(epochs):
        # Summed on the device in float64: reading each cost back would wait for the device at every step.
        cost_sum = torch.zeros((), dtype=torch.float64, device=device)
        for number, (batch, targets) in enumerate(_batches(images, labels, batch_size, generator)):
            rate = learning_rate(lr, lr_schedule, (epoch * batches + number) / (epochs * batches))
            cost_sum.add_(step(scale(batch), targets, rate), alpha=len(targets))
        train_cost = cost_sum.item() / len(labels)
        if not math.isfinite(train_cost):
            raise UserError(f"epoch {epoch}: the cost is {train_cost} with lr = {lr}: training diverged, lower lr")
        yield EpochRecord(epoch, train_cost, *cost_and_accuracy(model, validation))


def _batches(
    images: Tensor, labels: Tensor, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows and labels of each batch.

    The rows are gathered as bytes: a float copy of all is four times as large and no faster (38 ms an epoch either way,
    on two cores).
    """
    if batch_size >= len(labels):
        yield images, labels
        return
    for rows in torch.randperm(len(labels), generator=generator).to(labels.device).split(batch_size):  # type: ignore[no-untyped-call]
        # index_select, not images[rows]: it gathers in parallel, 2 ms an epoch instead of 30 and more.
        yield images.index_select(0, rows), labels.index_select(0, rows)


def learning_rate(lr: float, schedule: str, progress: float) -> float:
    """The learning rate after a share `progress` of all steps, 0 to 1 (cosine: Loshchilov and Hutter, SGDR, eq. 5)."""
    return lr * {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}[schedule]


def cost_and_accuracy(model: SoftmaxRegression, images: ImageSet | None) -> tuple[float, float]:
    """Mean cost in nats and share of right predictions; NaN, NaN where there are no images."""
    if images is None:
        return math.nan, math.nan
    device = model.weight.device
    labels = torch.from_numpy(images.labels).to(device)
    log_probabilities = model.log_probabilities(torch.from_numpy(images.pixels).to(device))
    accuracy = (log_probabilities.argmax(-1) == labels).double().mean()
    return cross_entropy(log_probabilities, labels).item(), accuracy.item()


def scratch_step(model: SoftmaxRegression, momentum: float, weight_decay: float) -> Step:
    """The gradient written out: the cost's derivative by the logits is the probabilities minus the one-hot target.

    So says Bishop, PRML, eq. 4.109. The update is torch.optim.SGD's: velocity ← momentum · velocity + gradient.
    """
    parameters = (model.weight, model.bias)
    velocities = [torch.zeros_like(parameter) for parameter in parameters]

    def step(pixels: Tensor, labels: Tensor, lr: float) -> Tensor:
        log_probabilities = log_softmax(model.logits(pixels))
        error = log_probabilities.exp()
        error.scatter_add_(1, labels[:, None], error.new_full((len(labels), 1), -1))
        error /= len(labels)
        for parameter, velocity, gradient in zip(parameters, velocities, (error.T @ pixels, error.sum(0)), strict=True):
            velocity.mul_(momentum).add_(gradient).add_(parameter, alpha=weight_decay)
            parameter.sub_(velocity, alpha=lr)
        return cross_entropy(log_probabilities, labels)

    return step


def builtin_step(model: SoftmaxRegression, momentum: float, weight_decay: float) -> Step:
    """The same step from PyTorch's own parts: nn.Linear, CrossEntropyLoss, automatic gradients, optim.SGD."""
    classes, pixels = model.weight.shape
    linear = nn.Linear(pixels, classes, device="meta")
    # The layer's parameters share the model's memory, so training the layer trains the model.
    linear.weight, linear.bias = nn.Parameter(model.weight), nn.Parameter(model.bias)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.0, momentum=momentum, weight_decay=weight_decay)

    def step(pixels: Tensor, labels: Tensor, lr: float) -> Tensor:
        optimizer.param_groups[0]["lr"] = lr
        optimizer.zero_grad()
        cost: Tensor = criterion(linear(pixels), labels)
        cost.backward()
        optimizer.step()
        return cost.detach()

    return step


STEPS = {"scratch": scratch_step, "builtin": builtin_step}


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`; raises UserError where CUDA is asked for and missing."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("device = cuda: this machine has no usable CUDA device; set device to auto or cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
