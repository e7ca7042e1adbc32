"""A labelled set of images, in memory or mapped from its file."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from softmax_regression.base import tensor_files
from softmax_regression.base.errors import UserError

LARGEST_SIDE = 256
"""Pixels of an image's longer side, at most; a model's file and the page to draw on hold as many weights a class, or
five times as many of features."""


def fits(standardisation: object, count: int) -> bool:
    """Whether it can be what makes so many features: lists of that many numbers (features/standardisation.py)."""
    return (
        isinstance(standardisation, dict)
        and bool(standardisation)
        and all(isinstance(numbers, list) and len(numbers) == count for numbers in standardisation.values())
    )


@dataclass(frozen=True)
class Preparation:
    """How the images of a set were made, so that anybody's can be made alike (docs/preparation.md)."""

    shows: Literal["strokes", "object", "picture"] = "picture"
    """Strokes on paper, which may be unevenly lit; an object on a plain ground; or a picture that fills its frame."""
    box: int = 0
    """Pixels of the longer side of what is drawn; for a picture 0, as it is all drawn."""
    centre: Literal["mass", "box"] = "box"
    """What lies in the middle of the frame: the ink's centre of mass, or the box around it."""
    least_ink: int = 0
    """Mean level in the box, 0 to 255, up to which the lines of a thin pen are thickened."""

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Self:
        """From what `asdict` makes of one; raises UserError where it is none."""
        expected = asdict(cls())
        if not isinstance(description, dict) or description.keys() != expected.keys():
            raise UserError(f"preparation must have {', '.join(expected)}")
        read = cls(**description)
        numbers = (read.box, read.least_ink)
        if (read.box == 0) != (read.shows == "picture"):
            raise UserError("preparation: box must be 0 for a picture, and above 0 for all else")
        if read.shows not in ("strokes", "object", "picture") or read.centre not in ("mass", "box"):
            raise UserError(f"preparation of {read.shows!r} with centre {read.centre!r} is unknown")
        if not all(isinstance(number, int) and 0 <= number <= 255 for number in numbers):
            raise UserError("preparation: box and least_ink must be whole numbers from 0 to 255")
        return read


@dataclass(frozen=True)
class ImageSet:
    """Images and what is known of them; the image size and the number of classes are read from here alone."""

    images: np.ndarray
    """uint8 [N, height, width], 0 the background and 255 the full stroke; in colour [N, height, width, 3]."""
    labels: np.ndarray
    """int64 [N], each an index into `classes`."""
    classes: tuple[str, ...]
    dataset: str
    source: Mapping[str, str]
    """The public address of each file that the images came from, with the checksum that was verified."""
    preparation: Preparation = Preparation()
    set_aside: int = 0
    """How many of the last images whoever made the set has meant for validation; 0 leaves it to a share."""
    features: np.ndarray | None = None
    """int8 [N, features]: what a model is given instead of the pixels, if anything."""
    standardisation: Mapping[str, Any] | None = None
    """Where there are features, what makes those of any image (features/standardisation.py)."""

    def __post_init__(self) -> None:
        shape = self.images.shape
        if self.images.dtype != np.uint8 or 0 in shape or not (len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)):
            wanted = "uint8 [N > 0, height, width] or [N > 0, height, width, 3]"
            raise UserError(f"{self.dataset}: images are {_layout(self.images)}, must be {wanted}")
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            raise UserError(f"{self.dataset}: labels are {_layout(self.labels)}, must be int64 [{len(self.images)}]")
        if self.labels.min() < 0 or self.labels.max() >= len(self.classes):
            raise UserError(f"{self.dataset}: labels must lie between 0 and {len(self.classes) - 1}")
        if not 0 <= self.set_aside < len(self):
            raise UserError(f"{self.dataset}: {self.set_aside} images set aside, of {len(self)}")
        rows = self.features
        if rows is not None and (rows.dtype != np.int8 or rows.ndim != 2 or len(rows) != len(self)):
            raise UserError(f"{self.dataset}: features are {_layout(rows)}, must be int8 [{len(self)}, features]")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_size(self) -> tuple[int, ...]:
        """Height and width, in colour also 3."""
        return self.images.shape[1:]

    @property
    def pixels(self) -> np.ndarray:
        """The images as rows: uint8 [N, height * width], in colour three times as many."""
        return self.images.reshape(len(self), -1)

    @property
    def rows(self) -> np.ndarray:
        """What a model is given of each image: the features int8 [N, features], else the pixels uint8 [N, pixels]."""
        return self.pixels if self.features is None else self.features

    @property
    def model_shape(self) -> tuple[int, int]:
        """The shape of a model for these images: classes, pixels or features."""
        return len(self.classes), self.rows.shape[1]

    def part(self, start: int, stop: int) -> Self:
        """The images from `start` up to `stop`, without copying."""
        return self._at(slice(start, stop))

    def take(self, rows: np.ndarray) -> Self:
        """Copies of the images at the indices `rows`, in that order."""
        return self._at(rows)

    def _at(self, rows: Any) -> Self:
        features = None if self.features is None else self.features[rows]
        return replace(self, images=self.images[rows], labels=self.labels[rows], features=features, set_aside=0)

    def hold_out(self, share: float) -> tuple[Self, Self]:
        """Split off the last `share` of the images (at least one, never all), or those set aside: the rest, and those.

        The last, not random ones: the split is the same for every seed, so that runs can be compared.
        """
        if len(self) < 2:
            raise UserError(f"{self.dataset}: {len(self)} image, too few to hold any out")
        held_out = self.set_aside or round(len(self) * share)
        kept = len(self) - min(max(held_out, 1), len(self) - 1)
        return self.part(0, kept), self.part(kept, len(self))

    def save(self, path: Path | str) -> None:
        """Write to a safetensors file; equal sets give equal bytes."""
        description: dict[str, object] = {
            "dataset": self.dataset,
            "classes": self.classes,
            "source": dict(self.source),
            "preparation": asdict(self.preparation),
        }
        if self.set_aside:
            description["set_aside"] = self.set_aside
        tensor_files.write(Path(path), {"images": self.images, "labels": self.labels}, description)

    def with_features(self, path: Path | None, data: str | None = None) -> Self:
        """With the features in a file that the stage `features` wrote; as it is where there is no such file.

        Raises UserError where the file is damaged, or of other images than those in the file with the MD5 `data`.
        """
        if path is None:
            return self
        arrays, description = tensor_files.read(path)
        features, standardisation = arrays.get("features"), description.get("standardisation")
        if features is None or data not in (None, description.get("data")):
            raise UserError(f"{path}: not the features of these images: run dvc repro features")
        try:
            given = replace(self, features=features, standardisation=standardisation)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        if not fits(standardisation, given.model_shape[1]):
            raise UserError(f"{path}: does not say how its features are made: run dvc repro features")
        return given

    @classmethod
    def load(cls, path: Path | str, wanted: str | None = None) -> Self:
        """Map a saved set; raises UserError where the file is damaged, no image set, or not the `wanted` data set."""
        arrays, description = tensor_files.read(Path(path))
        try:
            classes, dataset, source = description["classes"], description["dataset"], description["source"]
            if wanted and dataset != wanted:
                raise UserError(f"holds {dataset}, must hold {wanted}: set dataset in params.yaml to {wanted}")
            preparation = Preparation.of(description["preparation"])
            aside = description.get("set_aside", 0)
            return cls(arrays["images"], arrays["labels"], tuple(classes), dataset, source, preparation, aside)
        except (KeyError, TypeError) as error:
            raise UserError(f"{path}: not an image set: {error} is missing or wrong") from None
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def _layout(array: np.ndarray) -> str:
    return f"{array.dtype} {list(array.shape)}"
