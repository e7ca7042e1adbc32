"""Images that lie as arrays in a file: numpy's .npz, and IDX as MNIST, EMNIST and QMNIST come in."""

import gzip
import io
import math
import re
import tokenize
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from softmax_regression.base.errors import UserError, one_line
from softmax_regression.pictures.reading import MOST_PIXELS, from_16_bits
from softmax_regression.sources.collection import TEST, TRAIN, UNDIVIDED, VALID, Collection, in_one_form, is_class_name
from softmax_regression.sources.trees import DAMAGED

LIMIT = 2**30
"""Bytes of labels, and of what a compressed IDX file holds. EMNIST's largest has 547,178,704; images in .npz and in
files that are not compressed may have any number, as a few are read at a time."""
BATCH = 2**20
"""Bytes of images that are read at a time."""

LAYOUTS = (
    # Keras's, MedMNIST's, and the two that come without a division.
    {"x_train": ("y_train", TRAIN), "x_val": ("y_val", VALID), "x_test": ("y_test", TEST)},
    {
        "train_images": ("train_labels", TRAIN),
        "val_images": ("val_labels", VALID),
        "test_images": ("test_labels", TEST),
    },
    {"images": ("labels", UNDIVIDED)},
    {"x": ("y", UNDIVIDED)},
)
"""The names of images in an .npz, with those of their labels and their part."""

IDX_NAME = re.compile(r"(?:(.+)-)?(train|t10k|test)-(images|labels)[-.]idx\d-(?:ubyte|int)(?:\.gz)?")
"""The data set's name, which MNIST itself lacks, the part, and what it holds. Some unpackers write `.idx3`."""
IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
NOT_IDX = "not an IDX file, or empty, or its length does not fit its header"
QMNIST_COLUMNS = 8
"""The class, then the writer and where the digit is in NIST's collection."""

Layout = Mapping[str, tuple[str, str]]
Stream = IO[bytes] | io.BufferedIOBase


@dataclass(frozen=True)
class _Stack:
    """Images of one size, one after another in a file."""

    name: str
    part: str
    labels: list[str]
    batches: Callable[[], Iterator[np.ndarray]]
    """Their levels uint8 [n, rows, columns(, 3)], a few at a time."""


def collect_npz(path: Path) -> Collection:
    """The images in numpy's .npz, with the names that Keras's mnist.npz or MedMNIST gives them: see LAYOUTS.

    Images are uint8, uint16 or bool [N, rows, columns], [N, rows, columns, 1] or [N, rows, columns, 3]; labels are
    integers or text [N] or [N, 1]. Raises UserError for anything else, a pickle included, and for a damaged file; one
    that is damaged within its images is refused when they are read.
    """
    with _refusing(str(path)), zipfile.ZipFile(path) as archive:
        # Also what is in the zip but no array: it is among the names that are told.
        members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
        stacks, notes, used = [], [], set()
        for images, (labels, part) in _layout(path, members).items():
            if images not in members and labels not in members:
                continue
            for name in (images, labels):
                if name not in members:
                    raise UserError(f"{path}: {name} is missing: it has {_listed(members)}")
            with _refusing(f"{path}: {images}"):
                batches, count, dtype = _npz_images(path, archive, members[images])
            with _refusing(f"{path}: {labels}"):
                names = _label_names(_npz_labels(archive, members[labels]), count)
            if dtype.itemsize == 2:
                notes.append(f"{images}: 16 bits a pixel, 65535 became 255")
            used |= {images, labels}
            stacks.append(_Stack(images, part, names, batches))
    return _collection(stacks, list(members.keys() - used), notes)


def is_idx(names: Iterable[str]) -> bool:
    """Whether there are IDX files among the names of the files in a folder."""
    return any(IDX_NAME.fullmatch(name) for name in names)


def collect_idx(folder: Path) -> Collection:
    """The images in the IDX files of a folder, compressed by gzip or not, paired with their labels by name.

    The files of one data set: `train-images-idx3-ubyte`, `t10k-labels-idx1-ubyte.gz`, and those of EMNIST and QMNIST,
    which bear the set's name before. Where there is no test set, the images are undivided. Raises UserError for several
    sets, for files without their pair, and as collect_npz.
    """
    with _refusing(str(folder)):
        files, others = _idx_files(folder)
    sets = {name: path for (name, _, _), path in reversed(files.items())}
    if len(sets) > 1:
        first = ", ".join(path.name for path in sorted(sets.values()))
        raise UserError(f"{folder}: holds files of several data sets, must be of one: {first}")
    if not sets:
        raise UserError(f"{folder}: has no IDX files such as train-images-idx3-ubyte.gz")
    (name,) = sets
    is_emnist = name.casefold().startswith("emnist")
    stacks = []
    for part in (TRAIN, TEST):
        images, labels = files.get((name, part, "images")), files.get((name, part, "labels"))
        if images and labels:
            with _refusing(str(images)):
                batches, count = _idx_images(images, is_emnist)
            with _refusing(str(labels)):
                names = _label_names(_idx_labels(labels, name), count)
            stacks.append(_Stack(images.name, part, names, batches))
        elif alone := images or labels:
            other = re.sub("images|labels", "labels" if images else "images", alone.name.partition("idx")[0])
            raise UserError(f"{alone}: its other half is missing, {other}idx…")
    turned = ["rows and columns are swapped, as EMNIST's images lie on their side in its files"] * is_emnist
    return _collection(stacks, others, turned)


def read_idx(stream: Stream) -> np.ndarray:
    """The array in an IDX file, of the type and shape that its header says.

    Raises ValueError where it is none, is empty, shorter or longer than its header says, or larger than LIMIT.
    """
    dtype, shape = _idx_header(stream)
    size = math.prod(shape) * dtype.itemsize
    if size > LIMIT:
        raise ValueError(f"holds {size:,} bytes, must be {LIMIT:,} at most")
    content = stream.read(size + 1)
    if len(content) != size:
        raise ValueError(NOT_IDX)
    return np.frombuffer(content, dtype).reshape(shape)


def _layout(path: Path, members: Iterable[str]) -> Layout:
    found = [layout for layout in LAYOUTS if any(name in layout for name in members)]
    if len(found) != 1:
        allowed = ", or ".join(f"{images} and {layout[images][0]}" for layout in LAYOUTS for images in list(layout)[:1])
        raise UserError(f"{path}: has {_listed(members) or 'no arrays'}, must have either {allowed}")
    return found[0]


def _npz_images(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo
) -> tuple[Callable[[], Iterator[np.ndarray]], int, np.dtype]:
    """How to read a member's images, how many there are, and their type."""
    with archive.open(member) as stream:
        shape, is_fortran, dtype = _npy_header(stream)
        _check_images(dtype, shape)
        _check_length(stream, shape, dtype, member)

    def batches() -> Iterator[np.ndarray]:
        name = member.filename.removesuffix(".npy")
        with _refusing(f"{path}: {name}"), zipfile.ZipFile(path) as again, again.open(member.filename) as stream:
            if is_fortran:  # each image lies spread over the whole file
                whole = np.lib.format.read_array(stream, allow_pickle=False)
                for start, stop in _slices(dtype, shape):
                    yield _levels(whole[start:stop])
            else:
                _npy_header(stream)
                yield from map(_levels, _read_batches(stream, dtype, shape))

    return batches, shape[0], dtype


def _npz_labels(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    if member.file_size > LIMIT:
        raise ValueError(f"holds {member.file_size:,} bytes, must be {LIMIT:,} at most")
    with archive.open(member) as stream:
        shape, _, dtype = _npy_header(stream)
        if dtype.hasobject:
            raise ValueError("holds Python objects, which are not read, as they may run code; save it as astype(str)")
        _check_length(stream, shape, dtype, member)
        stream.seek(0)
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        return array


def _npy_header(stream: Stream) -> tuple[tuple[int, ...], bool, np.dtype]:
    """The shape of the array that follows, whether its first index runs fastest, and its type."""
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version[0]}.{version[1]} of numpy's format, must be 1.0 or 2.0")
    try:
        return readers[version](stream)
    except (SyntaxError, TypeError, tokenize.TokenError):  # of a damaged header, beside ValueError
        raise ValueError("its header is damaged") from None


def _check_length(stream: Stream, shape: Sequence[int], dtype: np.dtype, member: zipfile.ZipInfo) -> None:
    if stream.tell() + math.prod(shape) * dtype.itemsize != member.file_size:
        raise ValueError("its length does not fit its header")


def _idx_files(folder: Path) -> tuple[dict[tuple[str, str, str], Path], list[str]]:
    """The path of each IDX file, by its set, its part, and what it holds; and the names of the other files."""
    files: dict[tuple[str, str, str], Path] = {}
    others = []
    for path in sorted(folder.iterdir()):  # X before X.gz, as torchvision leaves both
        match = IDX_NAME.fullmatch(path.name)
        key = (match[1] or "", TRAIN if match[2] == "train" else TEST, match[3]) if match else None
        if key and key not in files and path.is_file():
            files[key] = path
        else:
            others.append(path.name)
    return files, others


def _idx_images(path: Path, is_swapped: bool) -> tuple[Callable[[], Iterator[np.ndarray]], int]:
    """How to read a file's images, and how many there are."""
    with _open_idx(path) as stream:
        dtype, shape = _idx_header(stream)
    _check_images(dtype, shape)
    if path.suffix == ".gz" and math.prod(shape) > LIMIT:
        raise ValueError(f"holds {math.prod(shape):,} bytes, must be {LIMIT:,} at most; unpack it to have more")

    def batches() -> Iterator[np.ndarray]:
        with _refusing(str(path)), _open_idx(path) as stream:
            _idx_header(stream)
            for batch in map(_levels, _read_batches(stream, dtype, shape)):
                yield np.ascontiguousarray(batch.swapaxes(1, 2)) if is_swapped else batch

    return batches, shape[0]


def _idx_labels(path: Path, name: str) -> np.ndarray:
    with _open_idx(path) as stream:
        labels = read_idx(stream)
    is_table = name.casefold().startswith("qmnist") and labels.shape[1:] == (QMNIST_COLUMNS,)
    return labels[:, 0] if is_table else labels


def _open_idx(path: Path) -> Stream:
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _idx_header(stream: Stream) -> tuple[np.dtype, tuple[int, ...]]:
    """Two zeros, the type of an element and the number of dimensions, then their lengths."""
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in IDX_TYPES:
        raise ValueError(NOT_IDX)
    lengths = stream.read(4 * start[3])
    shape = tuple(np.frombuffer(lengths[: len(lengths) // 4 * 4], ">u4").tolist())
    if len(lengths) < 4 * start[3] or 0 in shape or not shape:
        raise ValueError(NOT_IDX)
    return np.dtype(IDX_TYPES[start[2]]), shape


def _check_images(dtype: np.dtype, shape: Sequence[int]) -> None:
    """Raises ValueError where an array holds no images that can be used."""
    has_wrong_type = dtype.kind != "b" and not (dtype.kind == "u" and dtype.itemsize <= 2)
    has_colours = len(shape) == 4 and shape[3] in (1, 3)
    if has_wrong_type or not (len(shape) == 3 or has_colours) or min(shape) < 1:
        advice = ""
        if len(shape) == 4 and shape[1] in (1, 3) and not has_colours:
            advice = "; put the colours last"
        elif has_wrong_type:
            advice = "; bring its levels to 0 to 255 and round them"
        raise ValueError(
            f"holds {dtype} {list(shape)}, must be uint8, uint16 or bool [N > 0, rows, columns], [N, rows, columns, 1] "
            f"or [N, rows, columns, 3]{advice}"
        )
    if shape[1] * shape[2] > MOST_PIXELS:
        raise ValueError(f"{shape[2]:,}×{shape[1]:,} pixels an image, must be {MOST_PIXELS:,} at most")


def _slices(dtype: np.dtype, shape: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Where each of the batches starts and stops that an array is read in."""
    images = max(1, BATCH // (math.prod(shape[1:]) * dtype.itemsize))
    for start in range(0, shape[0], images):
        yield start, min(start + images, shape[0])


def _read_batches(stream: Stream, dtype: np.dtype, shape: Sequence[int]) -> Iterator[np.ndarray]:
    """The array that follows in a stream; raises ValueError where that ends before the array or after it."""
    for start, stop in _slices(dtype, shape):
        size = (stop - start) * math.prod(shape[1:]) * dtype.itemsize
        content = stream.read(size)
        if len(content) < size:
            raise ValueError(f"ends within its {shape[0]:,} images")
        yield np.frombuffer(content, dtype).reshape(stop - start, *shape[1:])
    if stream.read(1):  # and whoever reads to the end learns from zip and gzip that the checksum is right
        raise ValueError(f"does not end after its {shape[0]:,} images")


def _levels(images: np.ndarray) -> np.ndarray:
    """Images as levels uint8 [n, rows, columns(, 3)]."""
    if images.dtype.kind == "b":
        images = np.where(images, np.uint8(255), np.uint8(0))
    elif images.dtype.itemsize == 2:
        images = from_16_bits(images).astype(np.uint8)
    return np.ascontiguousarray(images[..., 0] if images.shape[3:] == (1,) else images)


def _label_names(labels: np.ndarray, count: int) -> list[str]:
    """The names of labels [count] or [count, 1]; raises ValueError where they are not integers or text."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2:
        raise ValueError(f"holds {labels.shape[1]} labels for each image, must be one")
    if labels.ndim != 1 or labels.dtype.kind not in "biuSU":
        raise ValueError(f"holds {labels.dtype} {list(labels.shape)}, must be integers or text [{count}]")
    if len(labels) != count:
        raise ValueError(f"holds {len(labels):,} labels, must be {count:,}, as there are images")
    distinct, which = np.unique(labels, return_inverse=True)
    # Each name once in memory, however many images have it.
    names = [in_one_form(each.decode() if isinstance(each, bytes) else str(each)) for each in distinct.tolist()]
    for index, name in enumerate(names):
        if not is_class_name(name):
            raise ValueError(f"holds {name!r} at [{which.tolist().index(index)}], must be text that can be printed")
    return [names[index] for index in which.tolist()]


def _collection(stacks: Sequence[_Stack], others: Sequence[str], notes: Iterable[str]) -> Collection:
    """The images of all stacks; of one alone, undivided."""
    names = [f"{stack.name}[{row}]" for stack in stacks for row in range(len(stack.labels))]
    parts = [stack.part if len(stacks) > 1 else UNDIVIDED for stack in stacks for _ in stack.labels]
    passed_over = [f"passed over: {_listed(others)}"] * bool(others)

    def contents() -> Iterator[np.ndarray]:
        for stack in stacks:
            for batch in stack.batches():
                yield from batch

    labels = [label for stack in stacks for label in stack.labels]
    return Collection(names, labels, parts, contents, range(len(names)), notes=(*passed_over, *notes))


def _listed(names: Iterable[str]) -> str:
    return one_line(", ".join(sorted(names)), 200)


@contextmanager
def _refusing(where: str) -> Iterator[None]:
    """Raises as UserError, in one sentence, what reading a damaged file raises."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{where}: cannot be read: {one_line(error.strerror or error, 200)}") from None
    except DAMAGED as error:
        raise UserError(f"{where}: {one_line(error, 400)}") from None
