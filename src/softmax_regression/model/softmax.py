"""The softmax regression model: its weights, its logits and its probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from softmax_regression.data import weights

IMAGES_AT_ONCE = 512
"""As floats 1.6 MB of MNIST, which stays in the processor's cache."""


@dataclass(frozen=True)
class SoftmaxRegression:
    """Multinomial logistic regression: logits = pixels @ weightᵀ + bias (Bishop, PRML, 4.3.4).

    Models of one shape can be stacked, in a first dimension `models` that is otherwise missing, and computed with as
    one. Logits have it too, so that what works on their last two dimensions, [N, classes], works on stacks as well.
    """

    weight: Tensor
    """float32 [(models,) classes, pixels]."""
    bias: Tensor
    """float32 [(models,) classes]."""

    @classmethod
    def random(
        cls, shape: tuple[int, int], init_std: float, generator: torch.Generator, bias_bound: float = 0.0
    ) -> Self:
        """Of `shape` (classes, pixels): weights drawn from N(0, init_std²), then the bias evenly from ±bias_bound.

        Drawn on the CPU, so that every device starts from the same numbers.
        """
        weight = torch.empty(shape).normal_(0, init_std, generator=generator)
        return cls(weight, torch.empty(shape[0]).uniform_(-bias_bound, bias_bound, generator=generator))

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
        """float32 [(models,) N, classes] for scaled pixels [N, pixels]."""
        # One product whose rows are the classes of all models: twice as fast as functional.linear (docs/speed.md).
        rows = torch.addmm(self.bias.flatten().unsqueeze(1), self.weight.flatten(0, -2), pixels.T)
        return rows.view(*self.bias.shape, -1).mT

    def log_probabilities(self, images: Tensor) -> Tensor:
        """Logarithm of each class's probability, float32 [(models,) N, classes], for uint8 rows [N, pixels]."""
        pixels = images.new_empty(IMAGES_AT_ONCE, images.shape[1], dtype=torch.float32)
        parts = images.split(IMAGES_AT_ONCE)
        return torch.cat([log_softmax(self.logits(scale(part, pixels[: len(part)]))) for part in parts], dim=-2)

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
    # torch.div(images, 255, out=out) first makes a float copy of its own, in memory that may be fresh each time.
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
