"""The softmax regression model: its weights, its logits and its probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from softmax_regression.base.errors import UserError
from softmax_regression.data import weights
from softmax_regression.model import exact

DRAWS, DRAW_BITS = 12, 24


@dataclass(frozen=True)
class SoftmaxRegression:
    """Multinomial logistic regression: logits = pixels @ weightᵀ + bias (Bishop, PRML, 4.3.4).

    Models of one shape can be stacked, in a first dimension `models` that is otherwise missing, and computed with as
    one. Logits have it too, so that what works on their last two dimensions, [N, classes], works on stacks as well.
    """

    weight: Tensor
    """float64, or float32 in PyTorch's own training: [(models,) classes, pixels]."""
    bias: Tensor
    """Likewise [(models,) classes]."""

    @classmethod
    def random(
        cls, shape: tuple[int, int], init_std: float, generator: torch.Generator, bias_bound: float = 0.0
    ) -> Self:
        """Of `shape` (classes, pixels): weights nearly from N(0, init_std²), the bias evenly from ±bias_bound.

        Sums of twelve even draws (Irwin and Hall), which are whole numbers and made on the CPU: the same everywhere.
        """
        largest = 2**DRAW_BITS
        draws = torch.randint(0, largest + 1, (DRAWS, *shape), generator=generator).sum(0) - DRAWS // 2 * largest
        bias = torch.randint(-largest, largest + 1, shape[:1], generator=generator)
        return cls(draws.double() * (init_std / largest), bias.double() * (bias_bound / largest))

    @classmethod
    def stack(cls, models: Sequence[Self]) -> Self:
        """Several models of one shape as one."""
        return cls(torch.stack([model.weight for model in models]), torch.stack([model.bias for model in models]))

    def zeros(self) -> Self:
        """Weights and biases of 0 in this model's shape and on its device."""
        return type(self)(torch.zeros_like(self.weight), torch.zeros_like(self.bias))

    def to(self, kind: torch.device | torch.dtype) -> Self:
        """The model on another device, or of another precision."""
        return type(self)(self.weight.to(kind), self.bias.to(kind))

    def logits(self, pixels: Tensor) -> Tensor:
        """Exact float64 [(models,) N, classes] for whole numbers 0…255, float64 [N, pixels]."""
        return exact.logits(self.weight.double(), self.bias.double(), pixels)

    def log_probabilities(self, images: Tensor) -> Tensor:
        """Logarithm of each probability, float64 [(models,) N, classes], for uint8 rows [N, pixels] or int8 features.

        Raises UserError for anything else, as for what torchvision's ToTensor makes: floats from 0 to 1.
        """
        pixels = self.weight.shape[-1]
        if images.dtype not in (torch.uint8, torch.int8) or images.ndim != 2 or images.shape[1] != pixels:
            shape = f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
            raise UserError(
                f"images are {shape}, must be uint8 [N, {pixels}], 0 the background and 255 ink, or int8 features"
            )
        parts = images.split(exact.CHUNK_IMAGES)
        return torch.cat([exact.log_softmax(self.logits(part.double()))[0] for part in parts], dim=-2)

    def save(self, path: Path | str, origin: weights.Origin | None = None) -> None:
        """Write `weight` and `bias`, rounded to float32, to a safetensors file; equal models give equal bytes.

        Without its origin the file can be loaded, but nothing can be predicted of anybody's picture.
        """
        weights.write(Path(path), self.weight.float().cpu().numpy(), self.bias.float().cpu().numpy(), origin)

    @classmethod
    def load(cls, path: Path | str, shape: tuple[int, int] | None = None) -> Self:
        """Read a saved model; raises UserError where the file is none, or none of `shape` (classes, pixels)."""
        weight, bias = weights.read(Path(path), shape)
        return cls(torch.from_numpy(weight).double(), torch.from_numpy(bias).double())


def softmax(logits: Tensor) -> Tensor:
    """Probabilities over the last dimension, float64."""
    return exact.log_softmax(logits.double())[1]
