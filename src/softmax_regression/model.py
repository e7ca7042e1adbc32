"""The softmax regression model: its weights, its probabilities and its cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from softmax_regression import weights

IMAGES_AT_ONCE = 512


@dataclass(frozen=True)
class SoftmaxRegression:
    """Multinomial logistic regression: logits = pixels @ weightᵀ + bias (Bishop, PRML, 4.3.4).

    Several models of one shape can be stacked and computed with as one; the dimension `models` is missing otherwise.
    """

    weight: Tensor
    """float32 [(models,) classes, pixels]."""
    bias: Tensor
    """float32 [(models,) classes]."""

    @classmethod
    def random(
        cls, classes: int, pixels: int, init_std: float, generator: torch.Generator, bias_bound: float = 0.0
    ) -> Self:
        """Weights drawn from N(0, init_std²), then the bias evenly from ±bias_bound.

        Drawn on the CPU, so that every device starts from the same numbers.
        """
        weight = torch.empty(classes, pixels).normal_(0, init_std, generator=generator)
        return cls(weight, torch.empty(classes).uniform_(-bias_bound, bias_bound, generator=generator))

    @classmethod
    def stack(cls, models: Sequence[Self]) -> Self:
        """Several models of one shape as one."""
        return cls(torch.stack([model.weight for model in models]), torch.stack([model.bias for model in models]))

    def zeros(self) -> Self:
        """Weights and biases of 0 in this model's shape and on its device."""
        return type(self)(torch.zeros_like(self.weight), torch.zeros_like(self.bias))

    def to(self, device: torch.device) -> Self:
        """The model on another device."""
        return type(self)(self.weight.to(device), self.bias.to(device))

    def logits(self, pixels: Tensor) -> Tensor:
        """float32 [N, (models,) classes] for scaled pixels [N, pixels]."""
        # With the classes first and then transposed: for 256 images of MNIST 60 µs, where functional.linear takes 137.
        flat = torch.addmm(self.bias.flatten().unsqueeze(-1), self.weight.flatten(0, -2), pixels.T).T
        return flat.view(-1, *self.bias.shape)

    def log_probabilities(self, images: Tensor) -> Tensor:
        """Logarithm of each class's probability, float32 [N, (models,) classes], for uint8 rows [N, pixels]."""
        # In parts that stay in the processor's cache: 6,000 images took 20 ms at once, and 4 ms so.
        pixels = images.new_empty(IMAGES_AT_ONCE, images.shape[1], dtype=torch.float32)
        parts = images.split(IMAGES_AT_ONCE)
        return torch.cat([log_softmax(self.logits(scale(part, pixels[: len(part)]))) for part in parts])

    def save(self, path: Path) -> None:
        """Write `weight` and `bias` to a safetensors file; equal models give equal bytes."""
        weights.write(path, self.weight.cpu().numpy(), self.bias.cpu().numpy())

    @classmethod
    def load(cls, path: Path, shape: tuple[int, int] | None = None) -> Self:
        """Read a saved model; raises UserError where the file is none, or none of `shape` (classes, pixels)."""
        weight, bias = weights.read(path, shape)
        return cls(torch.from_numpy(weight), torch.from_numpy(bias))


def scale(images: Tensor, out: Tensor | None = None) -> Tensor:
    """uint8 pixels 0…255 as float32 0…1, as torchvision's ToTensor scales them."""
    # torch.div(images, 255, out=out) first makes a float copy of its own, in memory that may be fresh each time: for
    # 1,024 images of MNIST 120 or 400 µs, as the allocator likes.
    return (images.float() if out is None else out.copy_(images)).div_(255)


def log_softmax(logits: Tensor) -> Tensor:
    """Logarithm of the softmax over the last dimension.

    Subtracting the largest logit first changes nothing in exact arithmetic and keeps exp from
    overflowing, which in float32 it does above 88 (Goodfellow, Bengio, Courville, Deep Learning, 4.1).
    """
    shifted = logits - logits.amax(-1, keepdim=True)
    return shifted - shifted.exp().sum(-1, keepdim=True).log()


def softmax(logits: Tensor) -> Tensor:
    """Probabilities over the last dimension: exponentiate, divide by the sum."""
    return log_softmax(logits).exp()


def cross_entropy(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean cost in nats, [(models)]: minus the log-probability of the true class, picked by its index.

    Log-probabilities [N, (models,) classes], labels int64 [N].
    """
    return cross_entropy_sum(log_probabilities, labels) / len(labels)


def cross_entropy_sum(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """The same cost, summed over the images instead; 0 where there is none."""
    return -log_probabilities.gather(-1, true_class(log_probabilities, labels)).squeeze(-1).sum(0)


def cross_entropy_one_hot(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    """The same cost as the product with a one-hot target, as textbooks write it."""
    target = torch.zeros_like(log_probabilities).scatter_(-1, true_class(log_probabilities, labels), 1)
    return -(target * log_probabilities).sum(-1).mean(0)


def true_class(logits: Tensor, labels: Tensor) -> Tensor:
    """Labels [N] as an index into the last dimension of logits [N, (models,) classes]: int64 [N, (models,) 1]."""
    return labels.view(-1, *[1] * (logits.ndim - 1)).expand(*logits.shape[:-1], 1)
