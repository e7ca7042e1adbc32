"""What a pass over the training images came to."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class EpochRecord:
    """What one pass over the training images came to; costs in nats."""

    epoch: int
    train_cost: float
    """Mean over the training images, each taken before its batch's update."""
    valid_cost: float
    """Mean over the held-out images after the epoch."""
    valid_accuracy: float


def worse_than_guessing(last: EpochRecord, classes: int) -> str | None:
    """What to tell of a training that ends at a cost above ln(classes), which equal probabilities cost; else None."""
    cost, guessing = max(last.train_cost, last.valid_cost), math.log(classes)
    if cost <= guessing:
        return None
    return f"the cost, {cost:.6g} nats, is above that of guessing, {guessing:.6g}: lower lr or momentum"
