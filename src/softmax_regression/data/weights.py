"""The model's file: weight, bias and what the model is of, as safetensors, checked before anything uses it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np

from softmax_regression.base import tensor_files
from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet, Preparation
from softmax_regression.data.images import fits as fits_features

VERSION = "0.2.0"
"""The package's, and in each model: another one stands for a training that computes otherwise."""


@dataclass(frozen=True)
class Origin:
    """What else one must know to use a model: its file says it, so that the file is enough."""

    dataset: str
    classes: tuple[str, ...]
    image_size: tuple[int, ...]
    """Height, width, and 3 where the images have colours."""
    preparation: Preparation
    data: str
    """The MD5 of the file with the training images, by which dvc.lock knows it."""
    code: str = f"softmax-regression {VERSION}"
    standardisation: Mapping[str, Any] | None = None
    """What makes the features that the model is given, where it is not given the pixels; no key of the file then."""

    @classmethod
    def of(cls, images: ImageSet, data: str) -> Self:
        """Of a model for images like these; `data` is the MD5 of their file."""
        known = (images.dataset, images.classes, images.image_size, images.preparation, data)
        return cls(*known, standardisation=images.standardisation)

    @property
    def description(self) -> dict[str, Any]:
        """For a file."""
        described = vars(self) | {"preparation": asdict(self.preparation)}  # asdict copies each of the numbers
        return {name: value for name, value in described.items() if value is not None}

    @classmethod
    def parse(cls, description: Mapping[str, Any], shape: tuple[int, ...]) -> Self:
        """From a file's description, of a weight of `shape`; raises UserError where it is none, or of another."""
        wanted = {field.name for field in fields(cls)} - {"standardisation"}
        if missing := sorted(wanted - set(description)):
            raise UserError(f"does not say its {', '.join(missing)}: it is from before 0.2.0, train it again")
        values, features = {name: description[name] for name in wanted}, description.get("standardisation")
        classes, size = values["classes"], values["image_size"]
        texts = [values["dataset"], values["data"], values["code"], *(classes if isinstance(classes, list) else [None])]
        fits = (
            all(isinstance(text, str) for text in texts)
            and isinstance(size, list)
            and all(type(length) is int and length > 0 for length in size)
            and (len(size) == 2 or (len(size) == 3 and size[2] == 3))
            and shape[0] == len(set(classes))
            and (shape[1] == math.prod(size) if features is None else fits_features(features, shape[1]))
        )
        if not fits:
            raise UserError("what it says of itself does not fit its weights: train it again")
        how = Preparation.of(values["preparation"])
        values |= {"classes": tuple(classes), "image_size": tuple(size), "preparation": how}
        known = cls(**values, standardisation=features)
        height, width, *colours = size
        if how.box > min(height, width):
            raise UserError(f"preparation: a box of {how.box} pixels in an image of {height}×{width}")
        if colours and how.shows != "picture":
            raise UserError("preparation: images in colour must show a picture")
        return known


def write(path: Path, weight: np.ndarray, bias: np.ndarray, origin: Origin | None = None) -> None:
    """Write float32 weight [classes, pixels or features] and bias [classes]; equal models give equal bytes."""
    tensor_files.write(path, {"weight": weight, "bias": bias}, origin.description if origin else {})


def read(path: Path, shape: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Weight float32 [classes, pixels or features] and bias float32 [classes].

    Raises UserError where the file is not a model, or not one of `shape` (classes, pixels).
    """
    weight, bias, _ = _read(path, shape)
    return weight, bias


def read_whole(path: Path, shape: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray, Origin]:
    """As `read`, with what the model is of; raises UserError also where the file does not say that."""
    weight, bias, description = _read(path, shape)
    try:
        return weight, bias, Origin.parse(description, weight.shape)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read(path: Path, shape: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    arrays, description = tensor_files.read(path)
    if set(arrays) != {"weight", "bias"}:
        raise UserError(f"{path}: not a model: holds {sorted(arrays)}, must hold weight and bias")
    weight, bias = arrays["weight"], arrays["bias"]
    if weight.ndim != 2 or bias.shape != weight.shape[:1] or {weight.dtype, bias.dtype} != {np.dtype(np.float32)}:
        raise UserError(f"{path}: not a model: must hold float32 weight [classes, pixels] and bias [classes]")
    if weight.size == 0:
        raise UserError(f"{path}: not a model: its weights are empty")
    if shape and weight.shape != shape:
        (classes, pixels), (own_classes, own_pixels) = shape, weight.shape
        raise UserError(
            f"{path}: a model for {own_pixels} pixels and {own_classes} classes, but the images have {pixels} and "
            f"{classes}: train one for them"
        )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise UserError(f"{path}: not a model: some weights are not finite")
    return weight, bias, description
