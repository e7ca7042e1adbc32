"""The step from scratch as it was before its sums were exact: in float32, the comparison for what exactness costs."""

import torch
from torch import Tensor

from softmax_regression.training.batches import Batch
from softmax_regression.training.share import ALONE, Share
from softmax_regression.training.state import TrainingState
from softmax_regression.training.steps import Step


def float32_step(state: TrainingState, momentum: float, weight_decay: float, share: Share = ALONE) -> Step:  # noqa: ARG001
    """A step on one worker for one model of float32, of a batch that is one chunk; pixels come as whole numbers."""
    parameters = (state.model.weight, state.model.bias)
    velocities = (state.velocity.weight, state.velocity.bias)

    def step(batch: Batch, lr: float) -> Tensor:
        ((pixels, labels),) = batch.chunks
        pixels.div_(255)
        logits = torch.addmm(parameters[1].unsqueeze(1), parameters[0], pixels.T).T
        shifted = logits - logits.amax(-1, keepdim=True)
        log_probabilities = shifted - shifted.exp().sum(-1, keepdim=True).log()
        error = log_probabilities.exp()
        error.scatter_add_(-1, labels.unsqueeze(1), error.new_full((len(labels), 1), -1))
        error /= batch.size
        for parameter, velocity, gradient in zip(parameters, velocities, (error.T @ pixels, error.sum(0)), strict=True):
            velocity.mul_(momentum).add_(gradient).add_(parameter, alpha=weight_decay)
            parameter.sub_(velocity, alpha=lr)
        return -log_probabilities.gather(-1, labels.unsqueeze(1)).sum()

    return step
