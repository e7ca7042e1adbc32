"""Evaluate the model on training, held-out and test images; save figures of merit, held-out costs and predictions."""

import dataclasses
from pathlib import Path

import numpy as np

from softmax_regression.base import files
from softmax_regression.base.running import run
from softmax_regression.data import weights
from softmax_regression.data.images import ImageSet
from softmax_regression.data.parameters import Parameters
from softmax_regression.model import exact
from softmax_regression.results import evaluation
from softmax_regression.tracking.event import metric_names
from softmax_regression.tracking.git import committed
from softmax_regression.tracking.journal import recording

TRAIN, TEST, MODEL = Path("data/train.safetensors"), Path("data/test.safetensors"), Path("models/softmax.safetensors")
COSTS = Path("metrics/valid_costs.npy")
TRACKED_AS = {"train": "final_train", "valid": "final_valid", "test": "test"}
"""How the figures' names begin in MLflow, where train_cost and valid_cost have a value for each epoch."""


def main() -> None:
    parameters = Parameters.read(Path("params.yaml"))
    with recording("evaluate", MODEL) as event:
        digests = {path: files.md5(path) for path in (TRAIN, TEST)}
        whole, test = (
            ImageSet.load(path).with_features(parameters.features_of(path), digest) for path, digest in digests.items()
        )
        train, valid = whole.hold_out(parameters.validation)
        sets = {"train": train, "valid": valid, "test": test}
        weight, bias = weights.read(MODEL, train.model_shape)
        predictions = {
            name: evaluation.Predictions(*exact.predict(weight, bias, images.rows, images.labels))
            for name, images in sets.items()
        }
        evaluations = {name: evaluation.evaluate(predictions[name], images.labels) for name, images in sets.items()}
        counts = evaluation.confusion_counts(sets["test"].labels, predictions["test"].predicted, len(train.classes))
        of_classes, tracked = evaluation.evaluate_classes(counts), metric_names(train.classes)
        for name, found in evaluations.items():
            figures = dataclasses.asdict(found)
            event.log({f"{TRACKED_AS[name]}_{figure}": value for figure, value in figures.items() if value is not None})
            more = {**of_classes, "classes": train.classes} if name == "test" else {}
            files.write_json(Path(f"metrics/{name}.json"), figures | more)
        for figure, values in of_classes.items():
            event.log({f"{figure}/{name}": value for name, value in zip(tracked, values, strict=True)})
        evaluation.write_predictions(Path("metrics/predictions.csv"), predictions["test"], sets["test"])
        with files.replacing(COSTS) as temporary:
            np.save(temporary, predictions["valid"].costs.astype(np.float32))

        event.keep(COSTS)
        event.add_input(TEST, train.dataset, sets["test"].source, "testing")
        held_out = f"{len(valid)} of {digests[TRAIN]}"
        example = sets["test"].images[:2]
        event.add_model(MODEL, example, len(train.classes), train.dataset, held_out, evaluations["valid"].cost)
    before = committed("params.yaml")
    same_images = (before.get("dataset"), before.get("validation")) == (parameters.dataset, parameters.validation)
    print(evaluation.table(evaluations, {name: committed(f"metrics/{name}.json") for name in sets if same_images}))


if __name__ == "__main__":
    run(main)
