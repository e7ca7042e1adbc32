"""The file of predictions: a line for each test image, with its class, the predicted one, and its probability."""

from pathlib import Path

import numpy as np

from softmax_regression import files
from softmax_regression.errors import UserError
from softmax_regression.images import ImageSet

COLUMNS = ("index", "actual", "predicted", "probability")


def write(path: Path, log_probabilities: np.ndarray, images: ImageSet) -> None:
    """Write what float32 log-probabilities [N, classes] predict for N images, by the names of the classes."""
    names = np.array(images.classes)
    predicted, probability = log_probabilities.argmax(axis=1), np.exp(log_probabilities.max(axis=1))
    columns = (range(len(images)), names[images.labels], names[predicted], probability.round(6).astype(str))
    files.write_csv(path, COLUMNS, zip(*columns, strict=True))


def read(path: Path, images: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """The predicted class int64 [N] of N images, and its probability float64 [N].

    Raises UserError where the file is damaged or of other images.
    """
    table = files.read_csv(path, COLUMNS)
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
