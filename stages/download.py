"""Fetch the data set, verify it, and save its training and test images."""

import os
from pathlib import Path

from softmax_regression.base import project
from softmax_regression.base.running import run
from softmax_regression.data.parameters import Parameters
from softmax_regression.sources import datasets


def main() -> None:
    parameters = Parameters.read(Path("params.yaml"))
    train, test = datasets.fetch(parameters.dataset, os.environ.get("DATA_MIRROR"), project.root())
    train.save(Path("data/train.safetensors"))
    test.save(Path("data/test.safetensors"))
    print(f"{parameters.dataset}: {len(train)} training and {len(test)} test images, {len(train.classes)} classes")


if __name__ == "__main__":
    run(main)
