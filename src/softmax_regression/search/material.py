"""What every turn of a stack needs."""

from dataclasses import dataclass
from pathlib import Path

from softmax_regression.data.weights import Origin


@dataclass(frozen=True)
class Material:
    """What every turn needs."""

    data: Path
    """The file with the training images."""
    features: Path | None
    """The file with their features, where the models are given some."""
    validation: float
    """Share of them that is held out."""
    origin: Origin
    """What the models' files say."""
