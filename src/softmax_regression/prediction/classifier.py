"""A trained model that answers what a picture shows."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from softmax_regression.base.errors import UserError
from softmax_regression.data import weights
from softmax_regression.features.standardisation import Standardisation
from softmax_regression.model import exact
from softmax_regression.pictures.preparation import Prepared, prepare
from softmax_regression.pictures.reading import Picture
from softmax_regression.results.evaluation import UNSURE


@dataclass(frozen=True)
class Answer:
    """What a model says of a picture."""

    classes: tuple[str, ...]
    probabilities: np.ndarray
    """float64 [classes]."""
    prepared: Prepared
    notes: tuple[str, ...]

    @property
    def ranked(self) -> list[tuple[str, float]]:
        """Classes with their probabilities, the most probable first."""
        shares = zip(self.classes, self.probabilities.tolist(), strict=True)
        return sorted(shares, key=lambda share: share[1], reverse=True)

    @property
    def is_unsure(self) -> bool:
        """Whether the probability is so low that the answer is often wrong."""
        return self.ranked[0][1] < UNSURE

    @property
    def done(self) -> tuple[str, ...]:
        """What was done to the picture, in words."""
        done = {
            "dark on light, inverted": self.prepared.inverted,
            "uneven paper levelled": self.prepared.levelled,
            "thin lines thickened": self.prepared.thickened,
        }
        return (*self.notes, *(words for words, is_so in done.items() if is_so))

    def as_json(self) -> dict[str, object]:
        """The answer for programs."""
        (name, probability), *_ = self.ranked
        return {
            "class": name,
            "probability": probability,
            "unsure": self.is_unsure,
            "probabilities": dict(zip(self.classes, self.probabilities.tolist(), strict=True)),
            "prepared": {"done": list(self.done), "box": list(self.prepared.box)},
        }


@dataclass(frozen=True)
class Classifier:
    """A model with all that its file says of it."""

    weight: np.ndarray
    """float64 [classes, pixels]."""
    bias: np.ndarray
    origin: weights.Origin
    standardisation: Standardisation | None = None
    """Where the model is given features instead of pixels."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a model; raises UserError where the file is none, or does not say what it is of."""
        weight, bias, origin = weights.read_whole(path)
        standardisation = None
        if origin.standardisation is not None:
            try:
                standardisation = Standardisation.of(origin.standardisation, origin.image_size)
            except UserError as error:
                raise UserError(f"{path}: {error}") from None
        return cls(weight.astype(np.float64), bias.astype(np.float64), origin, standardisation)

    @functools.cached_property
    def _on_grid(self) -> np.ndarray:
        return exact.weights_on_grid(self.weight)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Of each class, float64 [N, classes], for uint8 images [N, height, width(, 3)] or their rows."""
        if self.standardisation:
            images = self.standardisation.transform(images.reshape(len(images), *self.origin.image_size))
        rows = images.reshape(len(images), self.weight.shape[1]).astype(np.float64)
        return exact.softmax(exact.logits_on_grid(self._on_grid, self.bias, rows))

    @property
    def in_colour(self) -> bool:
        """Whether the model looks at pictures in colour."""
        return len(self.origin.image_size) == 3

    def answer(self, picture: Picture) -> Answer:
        """What a picture, read in colour for a model that is, shows; raises UserError where nothing is drawn on it."""
        prepared = prepare(picture.levels, self.origin.image_size, self.origin.preparation)
        if picture.reduction != 1:
            left, top, right, bottom = (round(edge * picture.reduction) for edge in prepared.box)
            prepared = replace(prepared, box=(left, top, right, bottom))
        (probabilities,) = self.probabilities(prepared.image[None])
        return Answer(self.origin.classes, probabilities, prepared, picture.notes)
