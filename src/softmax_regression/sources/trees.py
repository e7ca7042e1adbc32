"""The files of a folder or an archive by their paths, and their contents without unpacking."""

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from softmax_regression.base.errors import UserError, one_line
from softmax_regression.pictures.reading import MOST_BYTES
from softmax_regression.sources.collection import Content

JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
"""What file managers leave; like all that begins with a dot, it is passed over."""
UNPRINTABLE = "a name with characters that cannot be printed"


@dataclass(frozen=True)
class Tree:
    """The files below a folder, or in an archive."""

    paths: list[str]
    """Of each file, with slashes, in the order in which they can be read."""
    folders: frozenset[str]
    """Also the empty ones."""
    problems: list[str]
    """Of what is no file, each with its path."""
    passed_over: int
    """How many files are hidden, or a file manager's."""
    read: Callable[[Sequence[str]], Iterator[Content]]
    """The contents of the files at some of `paths`, in their order."""


def is_passed_over(path: str) -> bool:
    """Whether a file, or a folder that it lies in, is hidden or a file manager's."""
    return any(part.startswith(".") or part.casefold() in JUNK for part in path.split("/"))


def of_folder(folder: Path) -> Tree:
    """The files below a folder. A link to a file below it counts as one; any other link is a problem."""
    paths, folders, problems = [], set(), []
    passed_over = 0
    inside = folder.resolve()
    waiting = [""]
    while waiting:
        here = waiting.pop()
        for entry in os.scandir(folder / here):
            path = here + entry.name
            if is_passed_over(entry.name):
                passed_over += 1
            elif not path.isprintable():  # nor could it be written down where it is no UTF-8
                problems.append(f"{one_line(path)}: {UNPRINTABLE}")
            elif entry.is_symlink() and not (entry.is_file() and Path(entry.path).resolve().is_relative_to(inside)):
                problems.append(f"{path}: a link that leads to no file in the folder")
            elif entry.is_dir():
                folders.add(path)
                waiting.append(f"{path}/")
            elif entry.is_file():
                paths.append(path)
            else:
                problems.append(f"{path}: neither a file nor a folder")

    def read(wanted: Sequence[str]) -> Iterator[Content]:
        for path in wanted:
            try:
                with open(f"{folder}/{path}", "rb", buffering=0) as file:  # noqa: PTH123
                    # Asked for a number of bytes, Python makes room for as many, which takes 25 µs; a Path takes 5.
                    is_large = os.fstat(file.fileno()).st_size > MOST_BYTES
                    yield file.read(MOST_BYTES + 1) if is_large else file.read()
            except OSError as error:
                yield f"cannot be read: {error.strerror}"

    return Tree(sorted(paths), frozenset(folders), problems, passed_over, read)


def of_archive(archive: Path) -> Tree:
    """The files in a zip or tar; raises UserError where it is neither, or damaged."""
    try:
        return _of_zip(archive) if zipfile.is_zipfile(archive) else _of_tar(archive)
    except tarfile.ReadError:
        what = "neither a folder, a zip, a tar, .npz nor .parquet, or a damaged one"
        raise UserError(f"{archive}: {what}") from None
    except OSError as error:
        raise UserError(f"{archive}: cannot be read: {error.strerror or error}") from None
    except DAMAGED as error:
        raise UserError(f"{archive}: damaged: {one_line(error)}") from None


DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)
"""What the libraries raise on damaged archives, for a password, or for a compression that they do not know."""


def _of_zip(archive: Path) -> Tree:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
    listing = _Listing()
    for member in members:
        is_link = stat.S_ISLNK(member.external_attr >> 16)
        reason = "a link" if is_link else "encrypted" if member.flag_bits & 1 else ""
        listing.add(member.filename, member.is_dir(), reason)

    def read(wanted: Sequence[str]) -> Iterator[Content]:
        with zipfile.ZipFile(archive) as opened:
            for path in wanted:
                try:
                    with opened.open(listing.found[path]) as file:
                        yield file.read(MOST_BYTES + 1)
                except DAMAGED as error:
                    yield f"cannot be unpacked: {one_line(error)}"

    return listing.tree(read)


def _of_tar(archive: Path) -> Tree:
    listing = _Listing()
    with tarfile.open(archive) as opened:
        for member in opened:
            is_plain = member.isfile() or member.isdir()
            listing.add(member.name, member.isdir(), "" if is_plain else "a link or a device")
        _check_end(opened)

    def read(wanted: Sequence[str]) -> Iterator[Content]:
        # From one end to the other, as a compressed tar can be read in no other way.
        waiting = iter(wanted)
        path = next(waiting, None)
        with tarfile.open(archive) as opened:
            for member in opened:
                if path is None:
                    return
                if member.name == listing.found[path] and (file := opened.extractfile(member)):
                    yield file.read(MOST_BYTES + 1)
                    path = next(waiting, None)

    return listing.tree(read)


def _check_end(opened: tarfile.TarFile) -> None:
    """Raise where a tar that was read does not end as it must: at a damaged header tarfile stops without a word."""
    if (file := opened.fileobj) is None:
        return
    file.seek(opened.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.TarError("it is cut short, or a header in it is wrong")
    while file.read(2**20):  # to where gzip and xz say whether all was right
        pass


class _Listing:
    """What an archive lists."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        """The archive's own name for each path."""
        self.folders: set[str] = set()
        self.problems: list[str] = []
        self.passed_over = 0

    def add(self, name: str, is_folder: bool, reason: str) -> None:
        """Note a member; `reason` says why it is no file to read, if it is not."""
        path = PurePosixPath(name.replace("\\", "/")).as_posix()
        if not path.isprintable():
            self.problems.append(f"{one_line(path)}: {UNPRINTABLE}")
        elif is_passed_over(path) and ".." not in PurePosixPath(path).parts:
            self.passed_over += not is_folder
        elif path.startswith("/") or ".." in PurePosixPath(path).parts:
            self.problems.append(f"{name}: leads out of the archive")
        elif reason:
            self.problems.append(f"{path}: {reason}")
        elif is_folder:
            self.folders.add(path)
        elif path in self.found:
            self.problems.append(f"{path}: twice in the archive")
        else:
            self.found[path] = name
            self.folders.update(parent.as_posix() for parent in PurePosixPath(path).parents if parent.name)

    def tree(self, read: Callable[[Sequence[str]], Iterator[Content]]) -> Tree:
        return Tree(list(self.found), frozenset(self.folders), self.problems, self.passed_over, read)
