"""Training that goes on where it was interrupted, with the bits of one that was not.

Now and then the state after an epoch is written to a file in .checkpoints at the project's root, where DVC does not
look. The file is named by all that determines the result: no training goes on from another one's state.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from softmax_regression.base import tensor_files
from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet
from softmax_regression.training.loop import train
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.record import EpochRecord
from softmax_regression.training.share import ALONE, Share
from softmax_regression.training.state import TrainingState

SECONDS_BETWEEN = 2.0
"""How much work an interruption may cost."""


def train_resumably(
    path: Path, state: TrainingState, training: ImageSet, validation: ImageSet, recipe: Recipe, share: Share = ALONE
) -> Iterator[EpochRecord]:
    """Train as loop.train does, from the state in the file where there is one; yield the earlier records as well.

    The first worker reads and writes the file, the others learn from it. The caller removes it once the results are
    written.
    """
    records = restore(path, state) if share.is_first else []
    if records:
        print(f"{path.parent.name}: going on after epoch {records[-1].epoch}", flush=True)
    epochs_done, order = torch.tensor(state.epochs_done), state.generator.get_state()
    share.broadcast([*state.tensors().values(), epochs_done, order])
    state.epochs_done = int(epochs_done)
    state.generator.set_state(order)
    yield from records
    written = time.monotonic()
    for record in train(state, training, validation, recipe, share):
        records.append(record)
        if share.is_first and time.monotonic() - written > SECONDS_BETWEEN:
            write(path, state, records)
            written = time.monotonic()
        yield record


def write(path: Path, state: TrainingState, records: Sequence[EpochRecord]) -> None:
    """Write the state after an epoch, whole or not at all; raises UserError where the disk refuses."""
    arrays = {name: tensor.cpu().numpy() for name, tensor in state.tensors().items()}
    arrays["generator"] = state.generator.get_state().numpy()
    arrays["records"] = np.array([[*vars(record).values()] for record in records], np.float64)
    tensor_files.write(path, arrays, {"of": path.stem, "sha256": digest(arrays)})


def restore(path: Path, state: TrainingState) -> list[EpochRecord]:
    """Bring the state to the one in the file; return the records up to there.

    A file that is missing, damaged or another training's changes nothing, and there are no records.
    """
    try:
        arrays, description = tensor_files.read(path)
    except UserError:
        return []
    if description != {"of": path.stem, "sha256": digest(arrays)}:
        return []
    for name, tensor in state.tensors().items():
        tensor.copy_(torch.from_numpy(arrays[name]))
    state.generator.set_state(torch.from_numpy(arrays["generator"]))
    state.epochs_done = len(arrays["records"])
    return [EpochRecord(int(epoch), *figures) for epoch, *figures in arrays["records"].tolist()]


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of what the arrays hold, by which a damaged file is known."""
    return hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()
