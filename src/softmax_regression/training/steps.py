"""Two ways to take a step down the cost's gradient: written out, and from PyTorch's own parts."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from softmax_regression.model import exact
from softmax_regression.model.cost import cross_entropy_sum
from softmax_regression.training.batches import Batch
from softmax_regression.training.share import ALONE, Share
from softmax_regression.training.state import TrainingState

Step = Callable[[Batch, float], Tensor]
"""Takes a batch and a learning rate, updates the model, and returns the sum [(models)] of the images' costs in nats.

The costs are from before the update."""


def scratch_step(state: TrainingState, momentum: float, weight_decay: float, share: Share = ALONE) -> Step:
    """The gradient written out: the cost's derivative by the logits is the probabilities minus the one-hot target.

    So says Bishop, PRML, eq. 4.109. The update is torch.optim.SGD's: velocity ← momentum · velocity + gradient. No sum
    over pixels, classes, images or workers is rounded (model/exact.py), so that none depends on its order.
    """
    weight, bias = state.model.weight, state.model.bias
    sums = [torch.zeros_like(weight), torch.zeros_like(bias), bias.new_zeros(*bias.shape[:-1], 2)]

    def unit(batch_size: int) -> float:
        return 2.0 ** -exact.bits_left(batch_size, "images in a batch")

    def gradients_and_cost(pixels: Tensor, labels: Tensor, batch_size: int) -> tuple[Tensor, Tensor, Tensor]:
        log_p, p = exact.log_softmax(state.model.logits(pixels))  # [N, classes]
        y = functional.one_hot(labels, bias.shape[-1])  # [N, classes]
        error = exact.to_grid(p - y, unit(batch_size))  # [N, classes]
        gradient = exact.product(error.mT, pixels)  # [classes, pixels]
        return gradient, error.sum(-2), cross_entropy_sum(log_p, labels, batch_size)

    def step(batch: Batch, lr: float) -> Tensor:
        for total in sums:
            total.zero_()
        for pixels, labels in batch.chunks:
            for total, addend in zip(sums, gradients_and_cost(pixels, labels, batch.size), strict=True):
                total += addend
        share.sum(sums)
        updated = (
            (weight, state.velocity.weight, sums[0] * (1 / (255 * batch.size))),
            (bias, state.velocity.bias, sums[1] * (1 / batch.size)),
        )
        for parameter, velocity, gradient in updated:
            # A product, then a sum: fused, as add_(…, alpha=…) may be, they are rounded once on some machines only.
            velocity.mul_(momentum).add_(gradient)
            if weight_decay:
                velocity.add_(parameter * weight_decay)
            parameter.sub_(velocity * lr)
        return sums[2].sum(-1)

    return step


def builtin_step(state: TrainingState, momentum: float, weight_decay: float, share: Share = ALONE) -> Step:
    """The same step from PyTorch's own parts: nn.Linear, CrossEntropyLoss, automatic gradients, optim.SGD."""
    model, velocity = state.model, state.velocity
    linear = nn.Linear(model.weight.shape[-1], model.bias.numel(), device="meta")
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
            logits = linear(pixels.div_(255)).view(-1, model.bias.shape[-1])  # [N · models, classes]
            costs = criterion(logits, labels.repeat_interleave(total.numel()))  # [N · models]
            cost = costs.view(len(labels), total.numel()).sum(0) / batch.size
            # Each model's cost depends on its own weights alone, so the sum's gradient holds each one's own.
            cost.sum().backward()
            total += cost.detach().view_as(total)
        share.sum([*(each.grad for each in linear.parameters() if each.grad is not None), total])
        optimizer.step()
        return total * batch.size

    return step


STEPS = {"scratch": scratch_step, "builtin": builtin_step}
