"""The state of a training: all that the next epoch depends on besides the recipe and the data."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from softmax_regression.model.softmax import SoftmaxRegression


@dataclass
class TrainingState:
    """Training changes it in place; from a copy of it a training goes on as if nothing had interrupted it."""

    model: SoftmaxRegression
    velocity: SoftmaxRegression
    """The last step's gradient with what momentum kept of earlier ones."""
    generator: torch.Generator
    """Gives the order of the images; on the CPU, so that every device sees the same."""
    epochs_done: int = 0

    @classmethod
    def start(cls, model: SoftmaxRegression, generator: torch.Generator) -> Self:
        """A training of `model` that has not begun."""
        return cls(model, model.zeros(), generator)

    def tensors(self) -> dict[str, Tensor]:
        """Model and velocity by name, to be written or overwritten."""
        parts = {"": self.model, "velocity.": self.velocity}
        return {prefix + name: tensor for prefix, part in parts.items() for name, tensor in vars(part).items()}
