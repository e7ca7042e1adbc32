"""Named arrays and a description in one safetensors file: no pickle, and read without copying."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from softmax_regression.base.errors import UserError
from softmax_regression.base.files import replacing

DTYPES = {"I8": np.int8, "U8": np.uint8, "I64": np.int64, "F32": np.float32, "F64": np.float64}


def write(path: Path, arrays: Mapping[str, np.ndarray], description: Mapping[str, object]) -> None:
    """Write arrays and a JSON description; equal contents give equal bytes.

    Raises UserError where the disk refuses.
    """
    # One metadata key only: the library writes several in an order that changes from process to process.
    metadata = {"description": json.dumps(description, sort_keys=True)}
    try:
        with replacing(path) as temporary:
            save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, temporary, metadata)
    except SafetensorError as error:  # what the library makes of the disk's OSError
        raise UserError(f"{path}: cannot be written: {error}") from None


def write_in_chunks(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    chunks: Iterable[np.ndarray],
    description: Mapping[str, object],
) -> None:
    """As `write`, a single array: int8 of `shape`, of which memory holds a few rows at a time.

    Raises UserError where the disk refuses, ValueError where the chunks are not as many bytes as the shape says.
    """
    size = math.prod(shape)
    header = {
        "__metadata__": {"description": json.dumps(description, sort_keys=True)},
        name: {"dtype": "I8", "shape": shape, "data_offsets": (0, size)},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, np.int8).data)
        if (surplus := file.tell() - 8 - len(text) - size) != 0:
            raise ValueError(f"{name}: the chunks have {surplus:+d} bytes more than {list(shape)}")


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the arrays of a file, memory-mapped (changes stay private), and its description.

    Raises UserError where the file is missing, cut short, or not a safetensors file at all.
    """
    try:
        # safe_open checks that the header is sound and covers the file; only then is the header relied on.
        with safe_open(path, framework="np") as checked:
            description = json.loads((checked.metadata() or {}).get("description", "{}"))
        if not isinstance(description, dict):
            raise ValueError("its description is no mapping")
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(header_bytes))
        header.pop("__metadata__", None)
        return {name: _map(path, 8 + header_bytes, entry) for name, entry in header.items()}, description
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise UserError(f"{path}: not a safetensors file of this project: {error}") from None


def _map(path: Path, data_start: int, entry: Mapping[str, Any]) -> np.ndarray:
    dtype, shape, start = DTYPES[entry["dtype"]], tuple(entry["shape"]), data_start + entry["data_offsets"][0]
    return np.memmap(path, dtype, mode="c", offset=start, shape=shape)
