"""A search that goes on where it was interrupted: the state of each stack in a file of its own (folder.py)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from softmax_regression.base import tensor_files
from softmax_regression.base.errors import UserError
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.search.member import Member
from softmax_regression.search.stack import Stack
from softmax_regression.training import checkpoint
from softmax_regression.training.record import EpochRecord
from softmax_regression.training.state import TrainingState

STATE = ("weight", "bias", "velocity.weight", "velocity.bias")
"""The arrays of a TrainingState, by its names."""


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


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"
