"""Training that goes on where it was interrupted, with the bits of one that was not.

Now and then the state after an epoch is written to a file in .checkpoints at the project's root, where DVC does not
look. The file is named by all that determines the result: no training goes on from another one's state.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from softmax_regression import arithmetic, files, tensor_files
from softmax_regression.errors import UserError
from softmax_regression.images import ImageSet
from softmax_regression.model import SoftmaxRegression
from softmax_regression.training import EpochRecord, Recipe, train
from softmax_regression.workers import ALONE, Share

SECONDS_BETWEEN = 2.0
"""How much work an interruption may cost. Writing takes 2 ms, after 100,000 epochs 0.2 s."""
COMPUTING = ("batches", "images", "model", "training", "workers")
"""The modules whose code determines the result."""
ARITHMETIC = (*arithmetic.SETTINGS, "MKL_ENABLE_INSTRUCTIONS")
"""The settings from outside that change its last digits."""


def place(root: Path, settings: Mapping[str, object]) -> Path:
    """The file for a training under the project's root; `settings`, JSON values, are what its caller chooses freely."""
    sources = [files.sha256(Path(__file__).with_name(f"{module}.py")) for module in COMPUTING]
    machine = [torch.backends.cpu.get_cpu_capability(), *(os.environ.get(name) for name in ARITHMETIC)]
    key = json.dumps([settings, torch.__version__, machine, sources], sort_keys=True)
    return root / ".checkpoints" / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"


def train_resumably(
    path: Path,
    model: SoftmaxRegression,
    training: ImageSet,
    validation: ImageSet,
    recipe: Recipe,
    generator: torch.Generator,
    share: Share = ALONE,
) -> Iterator[EpochRecord]:
    """Train as training.train does, from the state in the file where there is one; yield the earlier records as well.

    The first worker reads and writes the file, the others learn from it. The caller removes it once the results are
    written.
    """
    velocity = model.zeros()
    records = restore(path, model, velocity, generator) if share.rank == 0 else []
    if records:
        print(f"{path.parent.name}: going on after epoch {records[-1].epoch}", flush=True)
    done, order = torch.tensor(len(records)), generator.get_state()
    share.from_first([*_tensors(model, velocity).values(), done, order])
    generator.set_state(order)
    yield from records
    written = time.monotonic()
    for record in train(model, training, validation, recipe, generator, velocity, int(done), share):
        records.append(record)
        if share.rank == 0 and time.monotonic() - written > SECONDS_BETWEEN:
            write(path, model, velocity, generator, records)
            written = time.monotonic()
        yield record


def write(
    path: Path,
    model: SoftmaxRegression,
    velocity: SoftmaxRegression,
    generator: torch.Generator,
    records: Sequence[EpochRecord],
) -> None:
    """Write the state after an epoch, whole or not at all; raises UserError where the disk refuses."""
    state = {name: tensor.cpu().numpy() for name, tensor in _tensors(model, velocity).items()}
    state["generator"] = generator.get_state().numpy()
    state["records"] = np.array([[*vars(record).values()] for record in records], np.float64)
    tensor_files.write(path, state, {"of": path.stem, "sha256": _sha256(state)})


def restore(
    path: Path, model: SoftmaxRegression, velocity: SoftmaxRegression, generator: torch.Generator
) -> list[EpochRecord]:
    """Bring model, velocity and generator, in place, to the state in the file; return the records up to there.

    A file that is missing, damaged or another training's changes nothing, and there are no records.
    """
    try:
        state, description = tensor_files.read(path)
    except UserError:
        return []
    if description != {"of": path.stem, "sha256": _sha256(state)}:
        return []
    for name, tensor in _tensors(model, velocity).items():
        tensor.copy_(torch.from_numpy(state[name]))
    generator.set_state(torch.from_numpy(state["generator"]))
    return [EpochRecord(int(epoch), *figures) for epoch, *figures in state["records"].tolist()]


def _tensors(model: SoftmaxRegression, velocity: SoftmaxRegression) -> dict[str, Tensor]:
    return {
        "weight": model.weight,
        "bias": model.bias,
        "velocity.weight": velocity.weight,
        "velocity.bias": velocity.bias,
    }


def _sha256(state: Mapping[str, np.ndarray]) -> str:
    return hashlib.sha256(b"".join(state[name].tobytes() for name in sorted(state))).hexdigest()
