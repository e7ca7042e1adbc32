"""How to descend: the recipe, and the learning rate that it gives each step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import torch

from softmax_regression.base.errors import UserError

IMPLEMENTATIONS, SCHEDULES = ("scratch", "builtin"), ("constant", "linear", "cosine")


@dataclass(frozen=True)
class Recipe:
    """params.yaml says what each of them means and may be, and has these values."""

    implementation: str = "scratch"
    lr: float = 0.1
    lr_schedule: str = "linear"
    epochs: int = 30
    batch_size: int = 256
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.implementation not in IMPLEMENTATIONS or self.lr_schedule not in SCHEDULES:
            raise UserError(f"{self}: implementation is one of {IMPLEMENTATIONS}, lr_schedule one of {SCHEDULES}")
        if min(self.epochs, self.batch_size) < 1:
            raise UserError(f"{self}: epochs and batch_size must be at least 1")

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """The recipe among other parameters."""
        return cls(**{field.name: parameters[field.name] for field in fields(cls)})

    @property
    def dtype(self) -> torch.dtype:
        """In which the implementation computes: exact sums in float64, PyTorch's own parts in float32."""
        return torch.float64 if self.implementation == "scratch" else torch.float32


def learning_rate(lr: float, schedule: str, progress: float) -> float:
    """The learning rate after a share `progress` of all steps, 0 to 1 (cosine: Loshchilov and Hutter, SGDR, eq. 5)."""
    match schedule:
        case "linear":
            return lr * (1 - progress)
        case "cosine":
            return lr * ((1 + _cosine_of_half_turns(progress)) / 2)
        case _:
            return lr


def _cosine_of_half_turns(turns: float) -> float:
    """cos(π · turns) for 0 to 1, as −sin(π · (turns − ½)) by its series: the C library has its own last digit."""
    x = math.pi * (turns - 0.5)
    term = total = x
    for k in range(2, 24, 2):
        term *= -x * x / (k * (k + 1))
        total += term
    return -total
