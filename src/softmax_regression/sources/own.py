"""Somebody's own pictures as image sets: found, checked, scaled, divided, and listed one by one."""

import functools
import hashlib
import itertools
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import LARGEST_SIDE, ImageSet, Preparation
from softmax_regression.sources import arrays, parquet, torchvision_sets
from softmax_regression.sources.collection import TEST, TRAIN, UNDIVIDED, VALID, Collection, natural_order
from softmax_regression.sources.decoding import DIGEST_BYTES, Decoded, Found, decode
from softmax_regression.sources.dividing import by_content, divide, is_mixed
from softmax_regression.sources.folders import collect_tree
from softmax_regression.sources.manifest import Line
from softmax_regression.sources.trees import is_passed_over, of_archive, of_folder

MOST_CLASSES = 1000
HEAVY_IMBALANCE = 10
"""How many times as many pictures one class may have as another before it is told."""
MOST_NOTES = 5
"""Of different things that were done to pictures."""
FIRST = 32
"""Pictures by whose size and colours those of all are guessed."""
ROWS_AT_ONCE = 4096
"""Copied from one file to another."""


@dataclass(frozen=True)
class Wanted:
    """How the images are to be."""

    size: tuple[int, int] | None
    """Height and width; None for the most common one."""
    colour: str
    """grey, rgb, or auto: rgb if any picture can have colours."""
    allow_duplicates: bool
    """Whether a picture may be in training and in test, or have two classes."""


class Imported(NamedTuple):
    """Image sets, and where each image came from."""

    train: ImageSet
    test: ImageSet
    lines: Iterator[Line]
    """Of the manifest, in the order of the images, those to train on first."""
    notes: list[str]
    """What was found and decided, in words."""


@dataclass(frozen=True)
class _Pictures:
    """The pictures of a collection, decoded, in its order."""

    collection: Collection
    classes: tuple[str, ...]
    labels: np.ndarray
    """int64 [N]."""
    images: np.ndarray
    """uint8 [N, height, width(, 3)]."""
    digests: np.ndarray
    """bytes [N], equal for pictures that show the same."""
    found: list[Found]
    """What else is known of each; the image is in `images`."""

    @functools.cached_property
    def same(self) -> list[np.ndarray]:
        """The rows of the pictures that show the same, of each picture that is there more than once."""
        order = np.argsort(self.digests, kind="stable")
        order = order[self.digests[order] != b""]  # of a picture that cannot be decoded
        digests = self.digests[order]
        starts = np.flatnonzero(np.append(True, digests[1:] != digests[:-1])) if len(order) else np.zeros(0, np.int64)
        ends = np.append(starts[1:], len(order))
        several = np.flatnonzero(ends - starts > 1)
        return [np.sort(order[starts[each] : ends[each]]) for each in several]

    @functools.cached_property
    def keys(self) -> np.ndarray:
        """What to order and divide by, bytes [N]: the file's SHA-256; of pictures that show the same, the smallest.

        So neither the images' size nor their colour has a say.
        """
        keys = np.array([each.sha256 for each in self.found], "S64")
        for rows in self.same:
            keys[rows] = min(keys[rows])
        return keys

    @functools.cached_property
    def is_tested(self) -> np.ndarray:
        """Whether each is in a part to test on, bool [N]: `test`, or `valid` where there is no other."""
        parts = np.array(self.collection.parts)
        return parts == (TEST if TEST in parts else VALID)

    @functools.cached_property
    def is_held_out(self) -> np.ndarray:
        """Whether each is in the part for validation and not tested on, bool [N]."""
        return (np.array(self.collection.parts) == VALID) & ~self.is_tested

    def lines(self, part: str, rows: np.ndarray) -> Iterator[Line]:
        """What the manifest says of the pictures at some rows, which are in a part."""
        names, labels = self.collection.names, self.collection.labels
        for row in rows.tolist():
            found, (height, width) = self.found[row], self.found[row].size
            yield Line(part, labels[row], names[row], f"sha256:{found.sha256}", f"{height}x{width}", found.done)


def read(name: str, wanted: Wanted) -> Imported:
    """The pictures at the path `name`, or of a set that torchvision knows by it, as image sets of that name.

    Raises UserError with all that is wrong, one line for each picture.
    """
    if name in torchvision_sets.NAMES:
        if wanted.size or wanted.colour != "auto":
            raise UserError(f"image_size and colour are for your own pictures: {name} is taken as it is")
        with tempfile.TemporaryDirectory() as folder:
            collection, preparation = torchvision_sets.collect(name, Path(folder))
            return import_pictures(collection, name, wanted, preparation)
    return import_pictures(collect(Path(name)), name, wanted, Preparation())


def import_pictures(collection: Collection, name: str, wanted: Wanted, preparation: Preparation) -> Imported:
    """Decode, check and divide pictures; raises UserError with all that is wrong, one line for each of them."""
    pictures, problems = _decode(collection, wanted)
    twice = list(_duplicates(pictures))
    if problems or (twice and not wanted.allow_duplicates):
        advice = ["of pictures that are there twice delete one, or use all: -S allow_duplicates=true"] * bool(twice)
        raise UserError("\n  ".join([f"{name}: nothing is imported:", *problems, *twice, *advice]))
    rows, valid = _divide(pictures)
    if not len(rows[TEST]):
        raise UserError(f"{name}: no class has two different pictures, one to train and one to test on")
    sets = {}
    for part in (TRAIN, TEST):
        shown = hashlib.sha256()
        for line in pictures.lines(part, rows[part]):
            shown.update(f"{line.label}\0{line.checksum}\0".encode())
        images, labels = _take(pictures.images, rows[part]), pictures.labels[rows[part]]
        source = {f"{name} ({part})": f"sha256:{shown.hexdigest()}"}
        sets[part] = ImageSet(images, labels, pictures.classes, name, source, preparation)
    train = replace(sets[TRAIN], set_aside=valid)
    notes = [*collection.notes, *_notes(pictures, rows, valid), *(f"used all the same: {each}" for each in twice)]
    lines = itertools.chain.from_iterable(pictures.lines(part, rows[part]) for part in (TRAIN, TEST))
    return Imported(train, sets[TEST], lines, notes)


def collect(path: Path) -> Collection:
    """The pictures at a path, whatever it is: a folder, an archive, arrays, a table.

    Raises UserError where it is nothing that is known.
    """
    if path.is_dir():
        names = [entry.name for entry in path.iterdir() if not is_passed_over(entry.name)]
        if arrays.is_idx(names):
            return arrays.collect_idx(path)
        has_files = any(each.endswith(".parquet") for each in names) and not any(
            (path / each).is_dir() for each in names
        )
        if has_files or any(path.glob("data/*.parquet")) or any(path.glob("default/*/*.parquet")):
            return parquet.collect_parquet(path)
        return collect_tree(of_folder(path), path.name)
    if path.suffix == ".npz":
        return arrays.collect_npz(path)
    if path.suffix == ".parquet":
        return parquet.collect_parquet(path)
    return collect_tree(of_archive(path), path.name)


def _decode(collection: Collection, wanted: Wanted) -> tuple[_Pictures, list[str]]:
    """All pictures and what is wrong, decoded to the size that the first ones mean.

    And again, should all together mean another one.
    """
    first = decode(itertools.islice(collection.contents(), FIRST), FIRST, (1, 1))
    size = _size((found for found, _ in first), wanted)
    pictures, problems = _decode_to(size, collection)
    if not problems and (meant := _size(pictures.found, wanted)) != size:
        pictures, problems = _decode_to(meant, collection)
    return pictures, problems


def _decode_to(size: tuple[int, ...], collection: Collection) -> tuple[_Pictures, list[str]]:
    count = len(collection.names)
    classes = collection.classes or tuple(natural_order(collection.labels))
    indices = {label: index for index, label in enumerate(classes)}
    labels = np.array([indices[label] for label in collection.labels], np.int64)
    images, digests, found = _scratch((count, *size)), np.zeros(count, f"S{DIGEST_BYTES}"), []
    problems = [*collection.problems, *_problems_of_classes(collection, classes)]
    for row, (each, image) in enumerate(_progress(decode(collection.contents(), count, size), count)):
        if image is None:
            problems.append(f"{collection.names[row]}: {each.problem}")
        else:
            images[row], digests[row] = image, each.digest
        found.append(each)
    return _Pictures(collection, classes, labels, images, digests, found), problems


def _size(found: Iterable[Found], wanted: Wanted) -> tuple[int, ...]:
    """The size of the images: as wanted, or the most common one, the smaller of two, scaled down to LARGEST_SIDE."""
    sound = [each for each in found if not each.problem]
    sizes = Counter(each.size for each in sound) or Counter([(1, 1)])  # where none is sound, nothing is kept
    common = min(sizes, key=lambda size: (-sizes[size], size[0] * size[1], size))
    reduction = max(1.0, max(common) / LARGEST_SIDE)
    height, width = wanted.size or (max(1, round(length / reduction)) for length in common)
    in_colour = wanted.colour == "rgb" or (wanted.colour == "auto" and any(each.has_colour for each in sound))
    return (height, width, 3) if in_colour else (height, width)


def _problems_of_classes(collection: Collection, classes: tuple[str, ...]) -> Iterator[str]:
    if classes and not 2 <= len(classes) <= MOST_CLASSES:
        yield f"number of classes: {len(classes):,}, must be 2 to {MOST_CLASSES:,}"
    pairs = zip(collection.labels, collection.parts, strict=True)
    trained = {label for label, part in pairs if part in (TRAIN, UNDIVIDED)}
    yield from (f"{label}: a class with no picture to train on" for label in classes if label not in trained)


def _divide(pictures: _Pictures) -> tuple[dict[str, np.ndarray], int]:
    """The rows to train on and to test on, each in their order; and how many of training, the last, are for validation.

    Without pictures to test on, those for validation are. Numbered pictures keep their order, if it does not go class
    by class.
    """
    labels, keys = pictures.labels, pictures.keys
    numbers = np.array(pictures.collection.numbers)

    def ordered(rows: np.ndarray) -> np.ndarray:
        if len(numbers) and is_mixed(labels[numbered := rows[np.argsort(numbers[rows], kind="stable")]]):
            return numbered
        return rows[by_content(labels[rows], keys[rows])]

    if not pictures.is_tested.any():
        train, test = divide(labels, keys)
        return {TRAIN: ordered(train), TEST: ordered(test)}, 0
    test = ordered(np.flatnonzero(pictures.is_tested))
    valid = ordered(np.flatnonzero(pictures.is_held_out))
    train = ordered(np.flatnonzero(~pictures.is_tested & ~pictures.is_held_out))
    return {TRAIN: np.concatenate([train, valid]), TEST: test}, len(valid)


def _duplicates(pictures: _Pictures) -> Iterator[str]:
    """Pictures that show the same, where one is tested on and one trained on, or where they have two classes."""
    reasons = (
        (pictures.labels, "two classes"),
        (pictures.is_tested, "in training and in test"),
        (pictures.is_held_out, "in training and for validation"),
    )
    for rows in sorted(pictures.same, key=lambda rows: int(rows[0])):
        for of_each, wrong in reasons:
            others = rows[of_each[rows] != of_each[rows[0]]]
            if len(others):
                first, second = pictures.lines("", np.array([rows[0], others[0]]))
                how = "the same file" if first.checksum == second.checksum else "the same pixels in another file"
                yield f"{first.path} and {second.path}: {wrong}, {how}"
                break


def _notes(pictures: _Pictures, rows: Mapping[str, np.ndarray], valid: int) -> Iterator[str]:
    done = Counter(each.done for each in pictures.found if each.done)
    yield from (f"{count} pictures {what}" for what, count in done.most_common(MOST_NOTES))
    if len(done) > MOST_NOTES:
        yield f"and {len(done) - MOST_NOTES} other things, all in the manifest"
    if valid:
        yield f"for validation: the {valid} pictures that were divided off for it, instead of a share"
    elif VALID in pictures.collection.parts:
        yield "to test on: the pictures that were divided off for validation, as there are no others"
    classes = pictures.classes
    trained, tested = (np.bincount(pictures.labels[rows[part]], minlength=len(classes)) for part in (TRAIN, TEST))
    if untested := [name for name, count in zip(classes, tested, strict=True) if not count]:
        yield f"no picture to test on: {', '.join(untested)}"
    if trained.max() > HEAVY_IMBALANCE * trained.min():
        most, least = int(trained.argmax()), int(trained.argmin())
        yield f"heavy imbalance: {trained[most]} pictures of {classes[most]}, {trained[least]} of {classes[least]}"


def _scratch(shape: tuple[int, ...]) -> np.ndarray:
    """An array in a file that is gone with it: all images may be more than the memory holds."""
    if 0 in shape:
        return np.empty(shape, np.uint8)
    try:
        with tempfile.TemporaryFile() as file:
            os.truncate(file.fileno(), math.prod(shape))
            os.posix_fallocate(file.fileno(), 0, math.prod(shape))  # else a full disk would end the process
            return np.asarray(np.memmap(file, np.uint8, "r+", shape=shape))
    except OSError as error:
        needed = f"{math.prod(shape) / 2**20:.0f} MiB of room"
        raise UserError(f"{tempfile.gettempdir()}: {error.strerror}; set TMPDIR to a folder with {needed}") from None


def _take(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The images at `rows`, in that order, without holding them all."""
    taken = _scratch((len(rows), *images.shape[1:]))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        taken[start : start + ROWS_AT_ONCE] = images[rows[start : start + ROWS_AT_ONCE]]
    return taken


def _progress(decoded: Iterable[Decoded], count: int) -> Iterable[Decoded]:
    return tqdm(decoded, "decoding", count, unit=" pictures", ncols=80, disable=None)
