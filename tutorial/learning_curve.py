"""From 25 images to all: test accuracy over the number of training images."""

import dataclasses
from pathlib import Path

from softmax_regression import files
from softmax_regression.arithmetic import fix_arithmetic
from softmax_regression.errors import exit_on_user_error
from softmax_regression.images import ImageSet
from softmax_regression.journal import recording
from softmax_regression.learning_curve import learning_curve
from softmax_regression.parameters import Parameters, TutorialParameters
from softmax_regression.training import Recipe

DATA = {"training": Path("data/train.safetensors"), "testing": Path("data/test.safetensors")}


def main() -> None:
    fix_arithmetic()
    parameters = Parameters.read(Path("params.yaml"))
    tutorial = TutorialParameters.read(Path("tutorial/params.yaml"))
    sizes, seeds, init_std = tutorial.curve_sizes, tutorial.curve_seeds, parameters.init_std
    settings = parameters.model_dump(include={field.name for field in dataclasses.fields(Recipe)})
    training, test = (ImageSet.load(path, "mnist") for path in DATA.values())
    with recording("learning_curve", experiment="tutorial", run_name="learning curve") as event:
        event.parameters = {**settings, "init_std": init_std, "sizes": sizes, "seeds": seeds}
        for (context, path), images in zip(DATA.items(), (training, test), strict=True):
            event.add_input(path, images.dataset, images.source, context)
        columns = [f"test_accuracy_seed_{seed}" for seed in range(seeds)]
        rows = []
        for size, accuracies in learning_curve(training, test, sizes, seeds, init_std, Recipe(**settings)):
            rows.append((size, *accuracies))
            event.log(dict(zip(columns, accuracies, strict=True)), step=size)
        files.write_csv(Path("tutorial/results/learning_curve.csv"), ("size", *columns), rows)


if __name__ == "__main__":
    exit_on_user_error(main)
