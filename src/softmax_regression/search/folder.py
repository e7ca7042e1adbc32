"""The folder of a search's files, of which each stack has one: named by all that determines the result.

It is in .checkpoints at the project's root.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from softmax_regression.base import files, tensor_files
from softmax_regression.base.errors import UserError
from softmax_regression.search.space import Setting
from softmax_regression.training.checkpoint_name import path_of

ROOM = Path(__file__).parent
TOLD = ("bar", "plots", "report", "results")
"""Modules that tell of results and change none: an edit of theirs spoils no search that was interrupted."""


def folder_of(root: Path, settings: Sequence[Setting], rungs: Sequence[int], data: str, validation: float) -> Path:
    """The folder for a search under the project's root; `data` is the digest of the file with the images."""
    key = {
        "settings": [asdict(setting) for setting in settings],
        "rungs": [*rungs],
        "data": data,
        "validation": validation,
        "sources": {file.name: files.sha256(file) for file in ROOM.glob("*.py") if file.stem not in TOLD},
    }
    return path_of(root, key).with_suffix("")


def weights_of(folder: Path, wanted: Collection[int]) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Weight and bias, float64, of trained members by number; raises UserError where their files are gone.

    Copied, as each mapped file would stay open, and a process may have 256 or 1,024 of them.
    """
    found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for path in folder.glob("*.safetensors"):
        arrays, _ = tensor_files.read(path)
        for place, number in enumerate(arrays.get("numbers", np.empty(0)).tolist()):
            if number in wanted:
                found[number] = arrays["weight"][place].copy(), arrays["bias"][place].copy()
    if len(found) < len(wanted):
        raise UserError(f"{folder}: was removed while it was needed, perhaps by another search: start again")
    return found
