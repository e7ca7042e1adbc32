"""How to descend: the recipe, and the learning rate that it gives each step."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """params.yaml says what each of them means and may be."""

    implementation: str
    lr: float
    lr_schedule: str
    epochs: int
    batch_size: int
    momentum: float
    weight_decay: float


def learning_rate(lr: float, schedule: str, progress: float) -> float:
    """The learning rate after a share `progress` of all steps, 0 to 1 (cosine: Loshchilov and Hutter, SGDR, eq. 5)."""
    match schedule:
        case "linear":
            return lr * (1 - progress)
        case "cosine":
            return lr * ((1 + math.cos(math.pi * progress)) / 2)
        case _:
            return lr
