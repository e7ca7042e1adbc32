"""Where each image came from, as a table."""

from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

from softmax_regression.base import files
from softmax_regression.data.images import ImageSet
from softmax_regression.sources.collection import TEST, TRAIN

COLUMNS = ("part", "class", "path", "checksum", "size", "done")


@dataclass(frozen=True, slots=True)
class Line:
    """A picture, or a file with many."""

    part: str
    """train or test."""
    label: str
    """Its class."""
    path: str
    checksum: str
    """sha256:… of its file; of an array, of its levels."""
    size: str = ""
    """Height x width, as it was found."""
    done: str = ""
    """What was done to it, in words."""


def of_files(train: ImageSet, test: ImageSet) -> Iterator[Line]:
    """Of sets that come from a few files: a line for each file."""
    for part, images in ((TRAIN, train), (TEST, test)):
        yield from (Line(part, "", path, checksum) for path, checksum in images.source.items())


def write(path: Path, lines: Iterable[Line]) -> None:
    """Write the lines in the order of the images, those of training first."""
    files.write_csv(path, COLUMNS, map(astuple, lines))
