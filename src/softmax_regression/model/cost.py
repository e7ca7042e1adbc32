"""The cost: cross-entropy in nats, from log-probabilities [(models,) N, classes] and labels int64 [N]."""

import torch
from torch import Tensor
from torch.nn import functional


def cross_entropy(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean cost [(models)]: minus the log-probability of the true class, picked by its index."""
    return cross_entropy_sum(log_probabilities, labels) / len(labels)


def cross_entropy_sum(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """The same cost, summed over the images instead; 0 where there is none."""
    return -log_probabilities[..., torch.arange(len(labels), device=labels.device), labels].sum(-1)


def cross_entropy_one_hot(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """The same mean cost as the product with a one-hot target, as textbooks write it."""
    return -(one_hot(labels, log_probabilities.shape[-1]) * log_probabilities).sum(-1).mean(-1)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """1 at each image's true class, 0 elsewhere: int64 [N, classes]."""
    return functional.one_hot(labels, classes)
