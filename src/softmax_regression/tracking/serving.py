"""The model as MLflow serves it: this file goes along with a model, and needs nothing else of the project.

But for a model of features: the code that makes them goes along with that. `mlflow.pyfunc.load_model` calls
`_load_pyfunc`; no pickle is needed, nor torch.
"""

import importlib
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

STANDARDISATION = "softmax_serving_features.features.standardisation"
"""A copy of this project's module, under a name of its own: the project may be there too, in a newer version."""
Transform = Callable[[np.ndarray], np.ndarray]
"""From uint8 images [N, height, width(, 3)] to their features, int8 [N, features]."""

LARGEST = {"u": 255, "i": 255, "f": 1, "b": 1}
"""The highest level of a pixel, by kind of dtype."""


class Classifier:
    """Answers with the probability of each class."""

    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray,
        image_size: tuple[int, ...] = (),
        transform: Transform | None = None,
    ) -> None:
        self.weight = weight
        self.bias = bias
        self.image_size = image_size
        self.transform = transform

    def predict(self, images: Any, params: object = None) -> np.ndarray:  # noqa: ARG002
        """Probabilities float32 [N, classes] for images [N, height, width(, 3)] or their rows [N, levels].

        An array, nested lists, or a DataFrame of rows. Whole numbers are levels from 0 to 255; floats, as
        torchvision's ToTensor makes them, run from 0 to 1. Colours may come first, as it puts them: [N, 3, height,
        width]. Raises ValueError for anything else.
        """
        given = np.asarray(images)
        count = math.prod(self.image_size) if self.transform else self.weight.shape[1]
        size = math.prod(given.shape[1:])
        if given.ndim < 2 or size != count:
            expected = f"images [N, height, width(, 3)] of {count} levels, or their rows"
            raise ValueError(f"an array of the shape {list(given.shape)}, must be {expected}")
        if given.ndim == 4 and given.shape[1] == 3 != given.shape[3]:
            given = np.moveaxis(given, 1, 3)
        pixels = given.reshape(-1, count)
        largest = LARGEST.get(pixels.dtype.kind)
        if largest is None or not ((pixels >= 0) & (pixels <= largest)).all():
            range_ = "" if largest is None or not pixels.size else f" from {pixels.min()} to {pixels.max()}"
            raise ValueError(f"{pixels.dtype}{range_}, must be whole numbers from 0 to 255, or floats from 0 to 1")
        if self.transform:
            levels = np.rint(np.multiply(pixels, 255 / largest)).astype(np.uint8)
            pixels, largest = self.transform(levels.reshape(-1, *self.image_size)), 255
        logits = np.divide(pixels, largest, dtype=np.float32) @ self.weight.T + self.bias
        # Without the largest logit, exp cannot overflow.
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)


def _load_pyfunc(path: str) -> Classifier:
    with safe_open(path, framework="np") as file:
        description = json.loads((file.metadata() or {}).get("description", "{}"))
    arrays = load_file(path)
    if "standardisation" not in description:
        return Classifier(arrays["weight"], arrays["bias"])
    size = tuple(description["image_size"])
    standardisation = importlib.import_module(STANDARDISATION).Standardisation.of(description["standardisation"], size)
    return Classifier(arrays["weight"], arrays["bias"], size, standardisation.transform)
