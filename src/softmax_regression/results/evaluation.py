"""How good a model's predictions are, and the file with a line for each of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softmax_regression.base import files
from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet
from softmax_regression.results.statistics import DEVIATIONS, mean_and_error, wilson_interval, with_interval
from softmax_regression.results.tables import aligned

CALIBRATION_BINS = 15
"""Equal-width bins, the number most papers use since Guo et al., On Calibration of Modern Neural Networks (2017)."""

UNSURE = 0.75
"""Below this probability an answer is called unsure: of MNIST's held-out images 64 % are right below, 98 % above."""

PREDICTION_COLUMNS = ("index", "actual", "predicted", "probability")


@dataclass(frozen=True)
class Predictions:
    """What a model says of N images."""

    predicted: np.ndarray
    """The most probable class, int64 [N]."""
    probability: np.ndarray
    """Its probability, float64 [N]."""
    costs: np.ndarray
    """The cross-entropy of each image in nats, float64 [N]."""


@dataclass(frozen=True)
class Evaluation:
    """How well a model does on a set of images; the ends of intervals are those of 95 %."""

    accuracy: float
    """Share of right predictions."""
    accuracy_low: float
    accuracy_high: float
    cost: float
    """Mean cross-entropy in nats."""
    cost_standard_error: float | None
    """None for a single image."""
    calibration_error: float
    """Expected calibration error: how far stated probability and accuracy lie apart, in the mean over images."""


def evaluate(predictions: Predictions, labels: np.ndarray) -> Evaluation:
    """Evaluate predictions of N images against their labels int64 [N]."""
    right = predictions.predicted == labels
    share, low, high = share_of(right.sum(), np.array(len(labels)))
    cost, error = mean_and_error(predictions.costs)
    calibration = calibration_error(predictions.probability, right)
    known_error = None if math.isnan(error) else error
    return Evaluation(float(share), float(low), float(high), cost, known_error, calibration)


def evaluate_classes(counts: np.ndarray) -> dict[str, list[float]]:
    """For each class its precision and recall with their 95 % intervals, from confusion counts.

    Precision: of the images predicted as it, the share that are it; 0 where none was predicted. Recall: of the images
    that are it, the share predicted as it; 0 where there are none.
    """
    figures = {}
    for name, axis in (("precision", 0), ("recall", 1)):
        for end, values in zip(("", "_low", "_high"), share_of(counts.diagonal(), counts.sum(axis=axis)), strict=True):
            figures[name + end] = values.tolist()
    return figures


def table(evaluations: Mapping[str, Evaluation], committed: Mapping[str, Mapping[str, float]]) -> str:
    """Accuracies and costs with their 95 % intervals as lines for people; beside them the accuracies in `committed`."""
    rows = [("", "accuracy (95 %)", "cost in nats (95 %)", "committed accuracy")]
    for name, found in evaluations.items():
        accuracy = with_interval(found.accuracy, found.accuracy_low, found.accuracy_high)
        error = f" ± {DEVIATIONS * found.cost_standard_error:.4f}" if found.cost_standard_error else ""
        accuracy_before = committed.get(name, {}).get("accuracy")
        before = f"{accuracy_before:.4f}" if isinstance(accuracy_before, float) else ""
        rows.append((name, accuracy, f"{found.cost:.4f}{error}", before))
    return aligned(rows)


def share_of(right: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shares, 0 of 0 being 0, and the ends of their 95 % intervals."""
    return right / np.maximum(count, 1), *wilson_interval(right, count)


def confusion_counts(actual: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How often each actual class (row) was predicted as each class (column): int64 [classes, classes]."""
    return np.bincount(actual * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def confidence_bins(confidence: np.ndarray) -> np.ndarray:
    """The bin, one of CALIBRATION_BINS, that each stated probability [N] lies in: int64 [N]."""
    return np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Expected calibration error (Guo et al., 2017, eq. 3) of predictions [N], right or wrong."""
    gaps = np.bincount(confidence_bins(confidence), weights=confidence - right, minlength=CALIBRATION_BINS)
    return math.fsum(np.abs(gaps)) / len(confidence)


def most_confident_mistakes(right: np.ndarray, probability: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` indices of wrong predictions, the most probable first, equal ones in their order."""
    wrong = np.flatnonzero(~right)
    return wrong[np.argsort(-probability[wrong], kind="stable")][:count]


def write_predictions(path: Path, predictions: Predictions, images: ImageSet) -> None:
    """Write what is predicted for N images, by the names of the classes."""
    names = np.array(images.classes)
    probability = predictions.probability.round(6).astype(str)
    columns = (range(len(images)), names[images.labels], names[predictions.predicted], probability)
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
