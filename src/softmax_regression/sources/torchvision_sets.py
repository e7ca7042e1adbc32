"""Further labelled image sets that torchvision knows: it has their addresses and checksums, and reads their files."""

import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from softmax_regression.base.errors import UserError, one_line
from softmax_regression.data.images import Preparation
from softmax_regression.sources.collection import TEST, TRAIN, Collection
from softmax_regression.sources.datasets import PREPARATIONS, TIMEOUT

EMNIST_SPLITS = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
DIGITS = tuple("0123456789")

# Cohen et al., EMNIST: an extension of MNIST to handwritten letters (2017): what is drawn is centred in a square, with
# a border of 2 pixels.
_KNOWN = {f"torchvision/emnist_{split}": Preparation("strokes", box=24, centre="box") for split in EMNIST_SPLITS}
_KNOWN |= {
    "torchvision/qmnist": PREPARATIONS["mnist"],
    "torchvision/usps": Preparation("strokes", box=16),
    "torchvision/svhn": Preparation(),
    "torchvision/cifar10": Preparation(),
}

NAMES = frozenset(_KNOWN)


class File(NamedTuple):
    """A file that torchvision reads."""

    address: str
    place: str
    """Where torchvision looks for it, below its folder."""
    md5: str


def collect(name: str, folder: Path) -> tuple[Collection, Preparation]:
    """The images of a set of NAMES, divided into train and test, and how they were made.

    Its files are downloaded into `folder` by https unless they lie there, and verified by torchvision's MD5. The
    images are held in memory, so the folder may go. Raises UserError where a file cannot be had.
    """
    for file in files(name):
        _download(name, file, folder)
    try:
        parts = {part: _read(name, folder, is_train=part == TRAIN) for part in (TRAIN, TEST)}
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{name}: cannot be unpacked in {folder}: {one_line(error, 200)}") from None
    sizes = {part: len(labels) for part, (_, labels, _) in parts.items()}

    def contents() -> Iterator[np.ndarray]:
        for images, _, _ in parts.values():
            yield from map(np.ascontiguousarray, images)

    collection = Collection(
        [f"{part}[{row}]" for part, size in sizes.items() for row in range(size)],
        [classes[label] for _, labels, classes in parts.values() for label in labels],
        [part for part, size in sizes.items() for _ in range(size)],
        contents,
        range(sum(sizes.values())),
        # Of EMNIST's letters, those of the first class do not exist.
        tuple(each for each in parts[TRAIN][2] if each != "N/A"),
    )
    return collection, _KNOWN[name]


def files(name: str) -> list[File]:
    """The files of a set of NAMES, at addresses with https."""
    from torchvision.datasets import CIFAR10, EMNIST, QMNIST, SVHN, USPS

    if name == "torchvision/qmnist":
        listed = [
            (url, f"QMNIST/raw/{_last(url)}", md5) for part in (TRAIN, TEST) for url, md5 in QMNIST.resources[part]
        ]
    elif name == "torchvision/usps":
        listed = [tuple(USPS.split_list[part]) for part in (TRAIN, TEST)]
    elif name == "torchvision/svhn":
        listed = [tuple(SVHN.split_list[part]) for part in (TRAIN, TEST)]
    elif name == "torchvision/cifar10":
        listed = [(CIFAR10.url, CIFAR10.filename, CIFAR10.tgz_md5)]
    else:
        listed = [(EMNIST.url, f"EMNIST/raw/{_last(EMNIST.url)}", EMNIST.md5)]
    return [File(url.replace("http://", "https://"), place, md5) for url, place, md5 in listed]


def _last(address: str) -> str:
    return PurePosixPath(address).name


def _download(name: str, file: File, folder: Path) -> None:
    """Download a file to where torchvision looks for it, unless it is there.

    By pooch, as torchvision itself would wait for ever, go on with http, and take USPS's files unverified if any are
    there.
    """
    from pooch import HTTPDownloader, retrieve

    place = folder / file.place
    downloader = HTTPDownloader(timeout=TIMEOUT, progressbar=sys.stderr.isatty())
    try:
        retrieve(file.address, f"md5:{file.md5}", place.name, place.parent, downloader=downloader)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong checksum is a ValueError
        untested = "it was never tested, as no mirror could be reached"
        raise UserError(f"{name}: cannot be downloaded: {file.address}: {one_line(error, 400)}; {untested}") from None


def _read(name: str, folder: Path, is_train: bool) -> tuple[np.ndarray, list[int], tuple[str, ...]]:
    """Images uint8 [N, rows, columns(, 3)], the label of each, and the names of the classes."""
    from torchvision.datasets import CIFAR10, EMNIST, QMNIST, SVHN, USPS

    known: Any
    if name == "torchvision/qmnist":
        known = QMNIST(folder, train=is_train, download=True)
        # Beside the class, a label says who wrote it and where it is in NIST's collection.
        return known.data.numpy(), known.targets[:, 0].tolist(), DIGITS
    if name == "torchvision/usps":
        known = USPS(folder, train=is_train, download=True)
        return known.data, known.targets, DIGITS
    if name == "torchvision/svhn":
        known = SVHN(folder, split=TRAIN if is_train else TEST, download=True)
        return known.data.transpose(0, 2, 3, 1), known.labels.tolist(), DIGITS
    if name == "torchvision/cifar10":
        known = CIFAR10(folder, train=is_train, download=True)
        return known.data, known.targets, tuple(known.classes)
    known = EMNIST(folder, split=name.removeprefix("torchvision/emnist_"), train=is_train, download=True)
    # Its files hold the images on their side.
    return known.data.numpy().swapaxes(1, 2), known.targets.tolist(), tuple(known.classes)
