"""Compute what the model is given of each image where that is not its pixels: training first, then test images."""

from pathlib import Path

from softmax_regression.base import files, tensor_files
from softmax_regression.base.running import run
from softmax_regression.data.images import ImageSet
from softmax_regression.data.parameters import Parameters
from softmax_regression.features.standardisation import Standardisation

TRAIN, TEST = Path("data/train.safetensors"), Path("data/test.safetensors")


def main() -> None:
    parameters = Parameters.read(Path("params.yaml"))
    if parameters.features == "pixels":
        for path in (TRAIN, TEST):
            tensor_files.write(Path("features") / path.name, {}, {"features": "pixels"})
        return
    training, _ = ImageSet.load(TRAIN).hold_out(parameters.validation)
    standardisation = Standardisation.fit(training.images)
    for path in (TRAIN, TEST):
        standardisation.write(Path("features") / path.name, ImageSet.load(path).images, files.md5(path))
    count = len(standardisation.means)
    print(f"{parameters.features}: {count:,} features of each image")


if __name__ == "__main__":
    run(main)
