"""Evaluate the model on the test images; save its figures of merit and each prediction."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from softmax_regression import files
from softmax_regression.errors import exit_on_user_error
from softmax_regression.evaluation import evaluate
from softmax_regression.images import ImageSet
from softmax_regression.model import SoftmaxRegression
from softmax_regression.tracking import Run

MODEL = Path("models/softmax.safetensors")


def main() -> None:
    test = ImageSet.load(Path("data/test.safetensors"))
    log_probabilities = SoftmaxRegression.load(MODEL).log_probabilities(torch.from_numpy(test.pixels)).numpy()
    evaluation = dataclasses.asdict(evaluate(log_probabilities, test.labels))
    files.write_json(Path("metrics/test.json"), {**evaluation, "classes": test.classes})

    names = np.array(test.classes)
    predicted, probability = log_probabilities.argmax(axis=1), np.exp(log_probabilities.max(axis=1))
    columns = (range(len(test)), names[test.labels], names[predicted], probability.round(6).astype(str))
    files.write_csv(
        Path("metrics/predictions.csv"), ("index", "actual", "predicted", "probability"), zip(*columns, strict=True)
    )

    per_class = {name: evaluation.pop(name) for name in ("precision", "recall")}
    run = Run.of_model(files.sha256(MODEL))
    run.log_metrics({f"test_{name}": value for name, value in evaluation.items()})
    for name, values in per_class.items():
        run.log_metrics({f"{name}/{label}": value for label, value in zip(test.classes, values, strict=True)})


if __name__ == "__main__":
    exit_on_user_error(main)
