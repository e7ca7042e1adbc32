"""Parquet files of pictures and labels, as Hugging Face has data sets."""

import json
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from softmax_regression.base.errors import UserError, one_line
from softmax_regression.sources.collection import (
    UNDIVIDED,
    Collection,
    Content,
    in_one_form,
    is_class_name,
    natural_key,
)
from softmax_regression.sources.folders import LABEL_COLUMNS, PARTS
from softmax_regression.sources.trees import is_passed_over

IMAGE_COLUMNS = ("image", "img")
"""The first of these that a file has is taken."""
SHARD = re.compile(r"(.+?)-(\d+)-of-(\d+)(?:-[0-9a-f]{16})?")
"""The part, this file's number and how many there are, as in train-00000-of-00002; older ones end with a checksum."""
ROWS = 32
"""Pictures that are read at a time."""
BUFFER = 2**20
"""Bytes of a file that are held. Else pyarrow holds all row groups; now it holds a page, which has 1,024 pictures
where the file is pyarrow's own, or as many as a row group has, if these are fewer."""


@dataclass(frozen=True)
class _File:
    """One file's columns, and what the one with the labels holds."""

    path: Path
    pictures: str
    """The column, or the field of it, that holds the pictures' bytes."""
    labels: list[str]
    """Of each row, empty where it has no class."""
    classes: tuple[str, ...]
    """In their order, where the file gives them one."""
    note: str
    problem: str


def collect_parquet(path: Path) -> Collection:
    """The pictures in a file, or in the files of a folder, such as `data/train-00000-of-00001.parquet`.

    A column of pictures' files, binary or struct{bytes, path}, called `image` or `img`, or the only one of its type;
    and a column of integers or text, called as in LABEL_COLUMNS, or the only ClassLabel, or the only other column.
    The parts are by the names of the files, or of their folders; those of a single part are undivided, and so is one
    file. Raises UserError where the columns or the parts are not clear, or a file is damaged; one that is damaged
    within its pictures is refused when they are read.
    """
    paths = _files(path)
    parts, problems = _parts(path, list(paths)) if path.is_dir() else ([UNDIVIDED], [])
    files = {name: _read(each, name) for name, each in paths.items()}
    orders = {file.classes for file in files.values()}
    if len(orders) > 1:
        raise UserError(f"{path}: its files have different classes, must have the same in the same order")
    (order,) = orders
    names, labels, parts_of_each = [], [], []
    for (name, file), part in zip(files.items(), parts, strict=True):
        rows = [row for row, label in enumerate(file.labels) if label]
        names += [f"{name}[{row}]" for row in rows]
        labels += [file.labels[row] for row in rows]
        parts_of_each += [part] * len(rows)
    used = set(labels)
    notes = list(dict.fromkeys(file.note for file in files.values() if file.note))
    if unused := [name for name in order if name not in used]:
        notes.append(f"passed over: classes without a picture: {one_line(', '.join(unused), 200)}")

    def contents() -> Iterator[Content]:
        for file in files.values():
            yield from _pictures(file)

    return Collection(
        names,
        labels,
        parts_of_each,
        contents,
        numbers=range(len(names)),
        classes=tuple(name for name in order if name in used),
        problems=(*problems, *(file.problem for file in files.values() if file.problem)),
        notes=tuple(notes),
    )


def _files(path: Path) -> dict[str, Path]:
    """The files by their names below a folder; of a single one its own."""
    if not path.is_dir():
        return {path.name: path}
    found = {each.relative_to(path).as_posix(): each for each in path.rglob("*.parquet") if each.is_file()}
    names = sorted((name for name in found if not is_passed_over(name)), key=natural_key)
    if not names:
        raise UserError(f"{path}: has no files such as train-00000-of-00001.parquet")
    return {name: found[name] for name in names}


def _parts(path: Path, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The part of each file, and what is wrong with them."""
    parts, folders, shards = [], set(), dict[tuple[PurePosixPath, str], tuple[int, set[int]]]()
    for name in names:
        folder, shard = PurePosixPath(name).parent, SHARD.fullmatch(PurePosixPath(name).stem)
        word = shard[1] if shard else PurePosixPath(name).stem
        part = PARTS.get(word.casefold())
        if shard:
            _, numbers = shards.setdefault((folder, word), (int(shard[3]), set()))
            numbers.add(int(shard[2]))
        if part is None and folder.name.casefold() in PARTS:
            part, folder = PARTS[folder.name.casefold()], folder.parent
        parts.append(part)
        folders.add(folder.as_posix())
    if len(folders) > 1:
        several = one_line(", ".join(sorted(folders)), 200)
        raise UserError(f"{path}: holds data sets in several folders, name one of them: {several}")
    problems = [
        f"{folder / word}-….parquet: {len(numbers)} of {count} files are there"
        for (folder, word), (count, numbers) in shards.items()
        if len(numbers) != count
    ]
    if len(set(parts)) == 1:
        return [UNDIVIDED] * len(parts), problems
    if None in parts:
        unknown = names[parts.index(None)]
        raise UserError(f"{path}: {unknown}: its name must begin with its part: {', '.join(PARTS)}")
    return [part for part in parts if part is not None], problems


def _read(path: Path, name: str) -> _File:
    """What a file holds beside its pictures."""
    import pyarrow.parquet as pq

    with _refusing(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        types = {each.name: each.type for each in schema}
        named = _class_names(path, schema)
        pictures = _first(IMAGE_COLUMNS, types, [each for each in types if _holds_pictures(types[each])])
        others = [each for each in types if each != pictures]
        column = _first(LABEL_COLUMNS, types, [each for each in others if each in named] or others)
        is_clear = len(types) == len(schema) and pictures and column and pictures != column
        if not (is_clear and _holds_pictures(types[pictures]) and _holds_labels(types[column])):
            columns = one_line(", ".join(f"{each.name} ({each.type})" for each in schema), 400)
            wanted = "one column `image`, of binary or struct<bytes, path>, and one `label`, of integers or text"
            raise UserError(f"{path}: must have {wanted}; it has {columns or 'none'}")
        classes = named.get(column, ()) if _holds_integers(types[column]) else ()
        values = file.read(columns=[column]).column(column).to_pylist()
    labels = [_label(value, classes) for value in values]
    problem = ""
    if "" in labels:
        row = labels.index("")
        value = one_line(repr(values[row]), 100)
        problem = f"{name}: {labels.count('')} of {len(labels)} labels are no class, the first in row {row}: {value}"
    note = "" if column in LABEL_COLUMNS else f"{column} is the column of the labels"
    field = pictures if _is_binary(types[pictures]) else f"{pictures}.bytes"
    return _File(path, field, labels, classes, note, problem)


def _pictures(file: _File) -> Iterator[Content]:
    """The pictures of a file that have a label."""
    import pyarrow.parquet as pq

    labels = iter(file.labels)
    with _refusing(file.path), pq.ParquetFile(file.path, buffer_size=BUFFER, pre_buffer=False) as opened:
        for batch in opened.iter_batches(ROWS, columns=[file.pictures]):
            for picture in batch.column(0).to_pylist():
                content = picture["bytes"] if isinstance(picture, dict) else picture
                if next(labels):
                    yield "is empty" if content is None else content


def _first(names: Sequence[str], columns: Container[str], others: Sequence[str]) -> str:
    """The first of the names that is a column; else the only other one; else nothing."""
    found = next((name for name in names if name in columns), "")
    return found or (others[0] if len(others) == 1 else "")


def _is_binary(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _holds_pictures(kind: Any) -> bool:
    import pyarrow as pa

    has_bytes = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    return _is_binary(kind.field("bytes").type if has_bytes else kind)


def _holds_integers(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind)


def _holds_labels(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):  # pandas's categories
        return _holds_labels(kind.value_type)
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return is_text or _holds_integers(kind) or pa.types.is_boolean(kind)


def _class_names(path: Path, schema: Any) -> dict[str, tuple[str, ...]]:
    """The names of the classes of each column of which Hugging Face's metadata has them, in their order."""
    try:
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", "{}"))
        features = metadata["info"]["features"] if metadata else {}
        named = {
            column: tuple(in_one_form(name) for name in feature["names"])
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: Hugging Face's metadata in it is damaged") from None
    for column, names in named.items():
        if len(set(names)) != len(names) or not all(is_class_name(name) for name in names):
            raise UserError(f"{path}: the classes of {column} must be distinct, and text that can be printed")
    return named


def _label(value: object, classes: Sequence[str]) -> str:
    """The name of a label's class, empty where it has none: Hugging Face writes -1 for that."""
    if classes and isinstance(value, int):
        return classes[value] if 0 <= value < len(classes) else ""
    name = in_one_form(str(value))
    return "" if value is None or not is_class_name(name) else name


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Raises as UserError, in one sentence, what reading a damaged file raises."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise UserError(f"{path}: cannot be read: {one_line(reason, 200)}") from None
