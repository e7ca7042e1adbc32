"""Evaluate the model on the test images; save its figures of merit and each prediction."""

import dataclasses
from pathlib import Path

from softmax_regression.base import files
from softmax_regression.base.running import run
from softmax_regression.data import weights
from softmax_regression.data.images import ImageSet
from softmax_regression.model import exact
from softmax_regression.results.evaluation import evaluate, write_predictions
from softmax_regression.tracking.journal import recording

DATA, MODEL = Path("data/test.safetensors"), Path("models/softmax.safetensors")


def main() -> None:
    with recording("evaluate", MODEL) as event:
        test = ImageSet.load(DATA)
        log_probabilities, probabilities = exact.predict(*weights.read(MODEL, test.model_shape), test.pixels)
        evaluation = evaluate(log_probabilities, probabilities, test.labels)
        files.write_json(Path("metrics/test.json"), {**dataclasses.asdict(evaluation), "classes": test.classes})
        write_predictions(Path("metrics/predictions.csv"), probabilities, test)

        event.log({f"test_{name}": getattr(evaluation, name) for name in ("cost", "accuracy", "calibration_error")})
        for name in ("precision", "recall"):
            of_each = zip(test.classes, getattr(evaluation, name), strict=True)
            event.log({f"{name}/{class_}": value for class_, value in of_each})
        digest = event.add_input(DATA, test.dataset, test.source, "testing")
        event.add_model(MODEL, test.images[:2], len(test.classes), test.dataset, digest, evaluation.accuracy)


if __name__ == "__main__":
    run(main)
