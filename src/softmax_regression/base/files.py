"""Files that are written whole or not at all, and their checksums."""

import csv
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from softmax_regression.base.errors import UserError

PARTIAL = ".partial-"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there once the block has succeeded.

    A reader sees the old file or the new one, never a part of it. What a killed process has left is removed an hour on.
    Raises UserError where the disk refuses (full, read-only, no permission).
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=PARTIAL) as folder:
            temporary = Path(folder) / path.name
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


def _remove_leftovers(folder: Path) -> None:
    for left in folder.glob(f"{PARTIAL}*"):
        with suppress(FileNotFoundError):  # another process is as quick
            if time.time() - left.stat().st_mtime > 3600:
                shutil.rmtree(left, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 with Unix line ends."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write `value` as indented JSON, keys in their order, so that `git diff` reads well."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a header and rows as comma-separated values with Unix line ends."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path, columns: Iterable[str]) -> dict[str, list[str]]:
    """Read comma-separated values into one list of texts per column.

    Raises UserError where there is no such file, or no table that has `columns`.
    """
    try:
        return parse_csv(path.read_bytes(), str(path), columns)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def parse_csv(content: bytes, name: str, columns: Iterable[str]) -> dict[str, list[str]]:
    """As `read_csv`, for the content of a file that errors call `name`."""
    try:
        header, *rows = csv.reader(io.StringIO(content.decode("utf-8"), newline=""))
    except (ValueError, csv.Error):  # UnicodeDecodeError is a ValueError; so is that not even a header is there
        raise UserError(f"{name}: damaged: not a table of comma-separated values") from None
    if missing := set(columns) - set(header):
        raise UserError(f"{name}: damaged: the column {min(missing)} is missing")
    if ragged := next((number for number, row in enumerate(rows, 2) if len(row) != len(header)), None):
        raise UserError(f"{name}: damaged: line {ragged} has another number of columns than the first")
    return {title: [row[column] for row in rows] for column, title in enumerate(header)}


def read_numbers(path: Path, columns: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """As `read_csv`, all columns being numbers: float64 [rows] each."""
    try:
        return {name: np.array(texts, np.float64) for name, texts in read_csv(path, columns).items()}
    except ValueError as error:
        raise UserError(f"{path}: damaged: {error}") from None


def md5(path: Path) -> str:
    """MD5 of a file's content, in hexadecimal: the name by which DVC knows it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
