"""Evaluate the model on the test images; save its figures of merit and each prediction."""

import dataclasses
from pathlib import Path

import torch

from softmax_regression import files, predictions
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
        model = SoftmaxRegression.load(MODEL, (len(test.classes), test.pixels.shape[1]))
        log_probabilities = model.log_probabilities(torch.from_numpy(test.pixels)).numpy()
        evaluation = evaluate(log_probabilities, test.labels)
        files.write_json(Path("metrics/test.json"), {**dataclasses.asdict(evaluation), "classes": test.classes})

        predictions.write(Path("metrics/predictions.csv"), log_probabilities, test)

        for name in ("cost", "accuracy", "calibration_error"):
            event.log({f"test_{name}": getattr(evaluation, name)})
        event.log({f"precision/{name}": value for name, value in zip(test.classes, evaluation.precision, strict=True)})
        event.log({f"recall/{name}": value for name, value in zip(test.classes, evaluation.recall, strict=True)})
        digest = event.add_input(DATA, test.dataset, test.source, "testing")
        event.add_model(MODEL, test.images[:2], len(test.classes), test.dataset, digest, evaluation.accuracy)


if __name__ == "__main__":
    exit_on_user_error(main)
