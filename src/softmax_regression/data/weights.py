"""The model's file: weight and bias as safetensors, checked before anything uses them."""

from pathlib import Path

import numpy as np

from softmax_regression.base import tensor_files
from softmax_regression.base.errors import UserError


def write(path: Path, weight: np.ndarray, bias: np.ndarray) -> None:
    """Write float32 weight [classes, pixels] and bias [classes]; equal ones give equal bytes."""
    tensor_files.write(path, {"weight": weight, "bias": bias}, {})


def read(path: Path, shape: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Weight float32 [classes, pixels] and bias float32 [classes].

    Raises UserError where the file is not a model, or not one of `shape` (classes, pixels).
    """
    arrays, _ = tensor_files.read(path)
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
    return weight, bias
