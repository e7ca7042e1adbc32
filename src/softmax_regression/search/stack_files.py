"""A search that goes on where it was interrupted: the state of each stack in a file of its own.

The files are in a folder of .checkpoints at the project's root, which is named by all that determines the result.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from softmax_regression.base import files, tensor_files
from softmax_regression.base.errors import UserError
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.search.member import Member
from softmax_regression.search.space import Setting
from softmax_regression.search.stack import Stack
from softmax_regression.training import checkpoint
from softmax_regression.training.loop import EpochRecord
from softmax_regression.training.state import TrainingState

ROOM = Path(__file__).parent
TOLD = ("bar", "plots", "report", "results")
"""Modules that tell of results and change none: an edit of theirs spoils no search that was interrupted."""
STATE = ("weight", "bias", "velocity.weight", "velocity.bias")
"""The arrays of a TrainingState, by its names."""


def folder_of(root: Path, settings: Sequence[Setting], rungs: Sequence[int], data: str, validation: float) -> Path:
    """The folder for a search under the project's root; `data` is the digest of the file with the images."""
    key = {
        "settings": [asdict(setting) for setting in settings],
        "rungs": [*rungs],
        "data": data,
        "validation": validation,
        "sources": {file.name: files.sha256(file) for file in ROOM.glob("*.py") if file.stem not in TOLD},
    }
    return checkpoint.path_of(root, key).with_suffix("")


def write(path: Path, stack: Stack, members: Sequence[Member]) -> None:
    """Write what has come of all `members` of a stack, and the state of those that were trained up to here.

    The file is whole or not there at all; raises UserError where the disk refuses.
    """
    arrays = {
        **{name: tensor.numpy() for name, tensor in stack.state.tensors().items()},
        "generator": stack.state.generator.get_state().numpy(),
        "numbers": np.array(stack.numbers, np.int64),
        "records": np.array(
            [(member.number, *vars(record).values()) for member in members for record in member.records], np.float64
        ),
    }
    arrays = {name: array for name, array in arrays.items() if array.size}  # nothing cannot be mapped from a file
    ends = [[member.end, member.model_sha256] for member in members]
    tensor_files.write(path, arrays, {"of": _name(path), "ends": ends, "sha256": checkpoint.digest(arrays)})


def restore(path: Path, members: Sequence[Member]) -> Stack | None:
    """Bring the members to what the file tells of them; return the stack of those who were in it then, if any.

    A file that is missing, damaged or another search's changes nothing. Who has been stopped since stays so.
    """
    try:
        arrays, description = tensor_files.read(path)
    except UserError:
        return None
    if (description.get("of"), description.get("sha256")) != (_name(path), checkpoint.digest(arrays)):
        return None
    records: dict[int, list[EpochRecord]] = {member.number: [] for member in members}
    for number, epoch, *figures in arrays.get("records", np.empty(0)).tolist():
        records[int(number)].append(EpochRecord(int(epoch), *figures))
    for member, (end, model_sha256) in zip(members, description["ends"], strict=True):
        member.records, member.model_sha256 = records[member.number], model_sha256
        member.end = member.end or end
    if "numbers" not in arrays:
        return None
    settings = {member.number: member.setting for member in members}
    numbers = arrays["numbers"].tolist()
    weight, bias, *velocity = (torch.from_numpy(np.array(arrays[name])) for name in STATE)
    generator = torch.Generator()
    generator.set_state(torch.from_numpy(arrays["generator"]))
    epochs_done = max(record[-1].epoch for record in records.values() if record) + 1
    state = TrainingState(SoftmaxRegression(weight, bias), SoftmaxRegression(*velocity), generator, epochs_done)
    return Stack(numbers, [settings[number] for number in numbers], state)


def models(folder: Path, wanted: Collection[int]) -> dict[int, SoftmaxRegression]:
    """The models of trained members by number; raises UserError where their files are gone.

    Copied, as each mapped file would stay open, and a process may have 256 or 1,024 of them.
    """
    found: dict[int, SoftmaxRegression] = {}
    for path in folder.glob("*.safetensors"):
        arrays, _ = tensor_files.read(path)
        for place, number in enumerate(arrays.get("numbers", np.empty(0)).tolist()):
            if number in wanted:
                found[number] = SoftmaxRegression(*(torch.from_numpy(arrays[name][place].copy()) for name in STATE[:2]))
    if len(found) < len(wanted):
        raise UserError(f"{folder}: was removed while it was needed, perhaps by another search: start again")
    return found


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"
