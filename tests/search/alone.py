"""What a search is compared with: stages/train.py, on images of its own."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import train
import yaml
from clone import ROOT

from softmax_regression.base.errors import UserError
from softmax_regression.base.files import md5, read_csv, sha256
from softmax_regression.data.images import ImageSet
from softmax_regression.data.parameters import Parameters
from softmax_regression.data.weights import Origin
from softmax_regression.search.material import Material
from softmax_regression.search.space import Setting
from softmax_regression.tracking.journal import unrecorded
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.record import EpochRecord

VALIDATION = 0.1
PARAMETERS = Parameters(**yaml.safe_load((ROOT / "params.yaml").read_text()))
SETTING = Setting(0.5, 0.3, "linear", 4, 7, 0.9, 0.0, 3)


def made_up(folder: Path) -> Material:
    """330 images of 5×4 pixels in three classes, one of whose pixels is always 0, in a file."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (330, 5, 4), dtype=np.uint8) * generator.integers(0, 2, (330, 5, 4), np.uint8)
    images[:, 0, 0] = 0
    images_set = ImageSet(
        images, generator.integers(0, 3, 330), ("red", "green", "blue"), "made-up", {"made-up": "sha256:0"}
    )
    path = folder / "data/train.safetensors"
    images_set.save(path)
    return Material(path, None, VALIDATION, Origin.of(images_set, md5(path)))


def recipe_of(setting: Setting) -> Recipe:
    """How it descends."""
    return Recipe.of({"implementation": "scratch", **vars(setting)})


class Alone:
    """Runs the stage in the folder of the images."""

    def __init__(self, material: Material, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = material.data.parents[1], patch

    def train(self, setting: Setting) -> tuple[list[EpochRecord], str]:
        """The records of a training, and the SHA-256 of the model; none and its message where it raises UserError."""
        values = {**PARAMETERS.model_dump(), **asdict(setting), "device": "cpu", "validation": VALIDATION}
        (self.folder / "params.yaml").write_text(yaml.safe_dump(values))
        with self.patch.context() as patch:
            patch.chdir(self.folder)
            patch.setenv("DVC_ROOT", str(self.folder))
            patch.setattr(train, "recording", lambda stage, **_: unrecorded(stage))
            try:
                train.main()
            except UserError as error:
                return [], str(error)
            columns = read_csv(train.COSTS, [])
            rows = [[float(text) for text in row] for row in zip(*columns.values(), strict=True)]
            return [EpochRecord(int(epoch), *figures) for epoch, *figures in rows], sha256(train.MODEL)
