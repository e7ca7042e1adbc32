"""Fetch the data set or read your own pictures, verify them, and save the training and test images."""

import os
from pathlib import Path

from softmax_regression.base import project
from softmax_regression.base.errors import UserError, one_line
from softmax_regression.base.running import run
from softmax_regression.data.parameters import Parameters
from softmax_regression.sources import datasets, manifest, own

AS_FOUND = own.Wanted(size=None, colour="auto", allow_duplicates=False)


def main() -> None:
    parameters = Parameters.read(Path("params.yaml"))
    name = Path(parameters.dataset).as_posix()
    wanted = own.Wanted(parameters.height_and_width, parameters.colour, parameters.allow_duplicates)
    if name not in datasets.KNOWN:
        train, test, lines, notes = own.read(name, wanted)
        notes = [f"classes: {one_line(', '.join(train.classes), 200)}", *notes]
    elif wanted != AS_FOUND:
        raise UserError(f"image_size, colour and allow_duplicates are for your own pictures: {name} is taken as it is")
    else:
        train, test = datasets.fetch(name, os.environ.get("DATA_MIRROR"), project.root())
        lines, notes = manifest.of_files(train, test), []
    train.save(Path("data/train.safetensors"))
    test.save(Path("data/test.safetensors"))
    manifest.write(Path("data/manifest.csv"), lines)
    print(*notes, sep="\n", end="\n" * bool(notes))
    size = "×".join(map(str, train.image_size))
    print(f"{name}: {len(train)} training and {len(test)} test images of {size}, {len(train.classes)} classes")


if __name__ == "__main__":
    run(main)
