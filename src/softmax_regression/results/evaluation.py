"""How good a model's predictions are, and the file with a line for each of them."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softmax_regression.base import files
from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet

CALIBRATION_BINS = 15
"""Equal-width bins, the number most papers use since Guo et al., On Calibration of Modern Neural Networks (2017)."""


PREDICTION_COLUMNS = ("index", "actual", "predicted", "probability")


@dataclass(frozen=True)
class Evaluation:
    """How well a model does on a set of images."""

    cost: float
    """Mean cross-entropy in nats."""
    accuracy: float
    """Share of right predictions."""
    calibration_error: float
    """Expected calibration error: how far stated probability and accuracy lie apart, in the mean over images."""
    precision: list[float]
    """For each class: of the images predicted as it, the share that are it; 0 where none was predicted."""
    recall: list[float]
    """For each class: of the images that are it, the share predicted as it; 0 where there are none."""


def evaluate(log_probabilities: np.ndarray, probabilities: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Evaluate float64 predictions [N, classes] against int64 labels [N]; raises UserError where some are NaN."""
    if np.isnan(log_probabilities).any():
        raise UserError("some probabilities are not numbers: the model's weights are too large for these images")
    predicted = probabilities.argmax(axis=1)
    counts = confusion_counts(labels, predicted, log_probabilities.shape[1])
    right = counts.diagonal()
    return Evaluation(
        # math.fsum rounds once, whatever the order; np.sum does not add in the same one everywhere.
        cost=math.fsum(-log_probabilities[np.arange(len(labels)), labels]) / len(labels),
        accuracy=float(right.sum() / len(labels)),
        calibration_error=calibration_error(probabilities.max(axis=1), predicted == labels),
        precision=(right / np.maximum(counts.sum(axis=0), 1)).tolist(),
        recall=(right / np.maximum(counts.sum(axis=1), 1)).tolist(),
    )


def confusion_counts(actual: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How often each actual class (row) was predicted as each class (column): int64 [classes, classes]."""
    return np.bincount(actual * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error (Guo et al., 2017, eq. 3) of predictions [N], right or wrong."""
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=CALIBRATION_BINS)
    return math.fsum(np.abs(gaps)) / len(confidence)


def most_confident_mistakes(right: np.ndarray, probability: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` indices of wrong predictions, the most probable first, equal ones in their order."""
    wrong = np.flatnonzero(~right)
    return wrong[np.argsort(-probability[wrong], kind="stable")][:count]


def write_predictions(path: Path, probabilities: np.ndarray, images: ImageSet) -> None:
    """Write what probabilities [N, classes] predict for N images, by the names of the classes."""
    names = np.array(images.classes)
    predicted, probability = probabilities.argmax(axis=1), probabilities.max(axis=1)
    columns = (range(len(images)), names[images.labels], names[predicted], probability.round(6).astype(str))
    files.write_csv(path, PREDICTION_COLUMNS, zip(*columns, strict=True))


def read_predictions(path: Path, images: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """The predicted class int64 [N] of N images, and its probability float64 [N].

    Raises UserError where the file is damaged or of other images.
    """
    table = files.read_csv(path, PREDICTION_COLUMNS)
    if table["actual"] != [images.classes[label] for label in images.labels]:
        raise UserError(f"{path}: not predictions for these images: run evaluate again")
    indices = {name: index for index, name in enumerate(images.classes)}
    if unknown := set(table["predicted"]) - indices.keys():
        raise UserError(f"{path}: damaged: {min(unknown)!r} is no class of {images.dataset}")
    try:
        predicted = np.array([indices[name] for name in table["predicted"]])
        return predicted, np.array(table["probability"], np.float64)
    except ValueError as error:
        raise UserError(f"{path}: damaged: {error}") from None
