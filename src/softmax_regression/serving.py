"""The model as MLflow serves it, on numpy alone: `mlflow.pyfunc.load_model` calls `_load_pyfunc`, no pickle needed."""

from pathlib import Path

import numpy as np

from softmax_regression import weights


class Classifier:
    """Answers with the probability of each class."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray) -> None:
        self.weight = weight
        self.bias = bias

    def predict(self, images: np.ndarray, params: object = None) -> np.ndarray:  # noqa: ARG002
        """Probabilities float32 [N, classes] for images uint8 [N, height, width]."""
        pixels = np.divide(images.reshape(len(images), -1), 255, dtype=np.float32)
        logits = pixels @ self.weight.T + self.bias
        # Without the largest logit, exp cannot overflow; see model.log_softmax.
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities


def _load_pyfunc(path: str) -> Classifier:
    return Classifier(*weights.read(Path(path)))
