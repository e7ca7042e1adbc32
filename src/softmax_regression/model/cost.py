"""The cost: cross-entropy in nats, from log-probabilities [(models,) N, classes] and labels int64 [N]."""

import torch
from torch import Tensor
from torch.nn import functional

from softmax_regression.model import exact


def cross_entropy(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean cost [(models)]: minus the log-probability of the true class, picked by its index."""
    return _mean(cross_entropy_sum(log_probabilities, labels, len(labels)), len(labels))


def cross_entropy_sum(log_probabilities: Tensor, labels: Tensor, batch_size: int) -> Tensor:
    """The same cost, summed over images that are a part of a batch, in exact.sum_costs' two parts [(models,) 2]."""
    rows = torch.arange(len(labels), device=labels.device)
    return exact.sum_costs(-log_probabilities[..., rows, labels].double(), batch_size)


def cross_entropy_one_hot(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """The same mean cost as the product with a one-hot target, as textbooks write it."""
    one_hot = functional.one_hot(labels, log_probabilities.shape[-1])
    return _mean(exact.sum_costs(-(one_hot * log_probabilities.double()).sum(-1), len(labels)), len(labels))


def _mean(parts: Tensor, count: int) -> Tensor:
    # Not on a GPU, where a division by a number is a product with what 1/number is rounded to.
    return parts.sum(-1).cpu() / count
