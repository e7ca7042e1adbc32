"""Figures of merit from log-probabilities and labels alone."""

from dataclasses import dataclass

import numpy as np

from softmax_regression.errors import UserError

CALIBRATION_BINS = 15
"""Equal-width bins, the number most papers use since Guo et al., On Calibration of Modern Neural Networks (2017)."""


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


def evaluate(log_probabilities: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Evaluate float log-probabilities [N, classes] against int64 labels [N]; raises UserError where some are NaN."""
    log_probabilities = log_probabilities.astype(np.float64)
    if np.isnan(log_probabilities).any():
        raise UserError("some probabilities are not numbers: the model's weights are too large for these images")
    predicted = log_probabilities.argmax(axis=1)
    counts = confusion_counts(labels, predicted, log_probabilities.shape[1])
    right = counts.diagonal()
    return Evaluation(
        cost=float(-log_probabilities[np.arange(len(labels)), labels].mean()),
        accuracy=float(right.sum() / len(labels)),
        calibration_error=calibration_error(np.exp(log_probabilities.max(axis=1)), predicted == labels),
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
    return float(np.abs(gaps).sum() / len(confidence))


def most_confident_mistakes(right: np.ndarray, probability: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` indices of wrong predictions, the most probable first, equal ones in their order."""
    wrong = np.flatnonzero(~right)
    return wrong[np.argsort(-probability[wrong], kind="stable")][:count]
