"""Evaluate the model on the test images; save its figures of merit and each prediction."""

import dataclasses
from pathlib import Path

import numpy as np
import torch

from softmax_regression import files
from softmax_regression.arithmetic import fix_arithmetic
from softmax_regression.errors import exit_on_user_error
from softmax_regression.evaluation import evaluate
from softmax_regression.images import ImageSet
from softmax_regression.journal import recording
from softmax_regression.model import SoftmaxRegression

DATA, MODEL = Path("data/test.safetensors"), Path("models/softmax.safetensors")


def main() -> None:
    fix_arithmetic()
    with recording("evaluate", MODEL) as event:
        test = ImageSet.load(DATA)
        log_probabilities = SoftmaxRegression.load(MODEL).log_probabilities(torch.from_numpy(test.pixels)).numpy()
        evaluation = evaluate(log_probabilities, test.labels)
        files.write_json(Path("metrics/test.json"), {**dataclasses.asdict(evaluation), "classes": test.classes})

        names = np.array(test.classes)
        predicted, probability = log_probabilities.argmax(axis=1), np.exp(log_probabilities.max(axis=1))
        columns = (range(len(test)), names[test.labels], names[predicted], probability.round(6).astype(str))
        header = ("index", "actual", "predicted", "probability")
        files.write_csv(Path("metrics/predictions.csv"), header, zip(*columns, strict=True))

        for name in ("cost", "accuracy", "calibration_error"):
            event.log({f"test_{name}": getattr(evaluation, name)})
        event.log({f"precision/{name}": value for name, value in zip(names, evaluation.precision, strict=True)})
        event.log({f"recall/{name}": value for name, value in zip(names, evaluation.recall, strict=True)})
        digest = event.add_input(DATA, test.dataset, test.source, "testing")
        event.add_model(MODEL, test.images[:2], len(names), test.dataset, digest, evaluation.accuracy)


if __name__ == "__main__":
    exit_on_user_error(main)
