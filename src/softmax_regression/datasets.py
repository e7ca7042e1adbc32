"""The known data sets: where their files are, how they are verified, and how they become image sets."""

import gzip
import hashlib
import logging
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from softmax_regression.errors import UserError
from softmax_regression.images import ImageSet

PAYLOAD_LIMIT = 64 * 2**20
"""Bytes; the largest file, MNIST's training images, holds 47,040,016. What holds more is refused, read no further."""

TIMEOUT = (10, 30)
"""Seconds to wait for a connection, and for the next bytes of an answer."""

MNIST_PAYLOADS = (
    "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
"""Of the decompressed files, in torchvision's order: mirrors recompress, so that the published sums of the compressed
files would refuse sound data."""


@dataclass(frozen=True)
class Source:
    """A data set as four gzip-compressed IDX files on several mirrors."""

    dataset: str
    classes: tuple[str, ...]
    mirrors: tuple[str, ...]
    """Addresses that a file's name is appended to."""
    files: Mapping[str, str]
    """Checksum by name: training images, training labels, test images, test labels, in this order. A checksum is
    `sha256:…` of the decompressed payload, or `md5:…` of the compressed file as published."""


def fetch(dataset: str, data_mirror: str | None, root: Path) -> tuple[ImageSet, ImageSet]:
    """The training and the test images of a known data set, verified.

    `data_mirror`, a URL or a directory (a relative one counts from `root`), is tried before the public mirrors.
    Raises UserError where no mirror serves the right files.
    """
    if dataset == "digits":
        return bundled_digits()
    return fetch_files(public_source(dataset), data_mirror, root)


def public_source(dataset: str) -> Source:
    """Files, mirrors and checksums of `mnist`, `fashion_mnist` or `kmnist`, as torchvision knows them."""
    # Imported where it is used: torchvision takes 3 s, which digits need not wait for.
    from torchvision.datasets import KMNIST, MNIST, FashionMNIST

    known = {"mnist": MNIST, "fashion_mnist": FashionMNIST, "kmnist": KMNIST}[dataset]
    checksums = {name: f"md5:{md5}" for name, md5 in known.resources}
    if dataset == "mnist":
        checksums = dict(zip(checksums, MNIST_PAYLOADS, strict=True))
    # torchvision names MNIST's classes "7 - seven".
    classes = tuple(name.split(" - ")[0] for name in known.classes)
    return Source(dataset, classes, tuple(known.mirrors), checksums)


def fetch_files(source: Source, data_mirror: str | None, root: Path) -> tuple[ImageSet, ImageSet]:
    """Fetch, verify and read the four files of a source; raises UserError with each mirror's reason."""
    places = mirrors(source, data_mirror, root)
    with tempfile.TemporaryDirectory() as folder:
        train_images, train_labels, test_images, test_labels = (
            _fetch_file(name, checksum, places, dimensions, len(source.classes), Path(folder))
            for (name, checksum), dimensions in zip(source.files.items(), (3, 1, 3, 1), strict=True)
        )
    # The public address whichever mirror it was: equal data must give equal bytes.
    origin = [(source.mirrors[0] + name, checksum) for name, checksum in source.files.items()]
    return (
        ImageSet(train_images, train_labels.astype(np.int64), source.classes, source.dataset, dict(origin[:2])),
        ImageSet(test_images, test_labels.astype(np.int64), source.classes, source.dataset, dict(origin[2:])),
    )


def bundled_digits() -> tuple[ImageSet, ImageSet]:
    """scikit-learn's 1,797 scanned digits of 8×8 pixels, which need no network: the first 80 % to train on.

    They come in the order of their writers, so the test images are by other hands than the training images.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    # The scanner counted 0 to 16 dots a pixel; every image set holds 0 to 255.
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    checksum = hashlib.sha256(digits.images.tobytes() + digits.target.tobytes()).hexdigest()
    source = {"sklearn.datasets.load_digits": f"sha256:{checksum}"}
    classes = tuple(str(name) for name in digits.target_names)
    everything = ImageSet(images, digits.target.astype(np.int64), classes, "digits", source)
    return everything.hold_out(0.2)


def mirrors(source: Source, data_mirror: str | None, root: Path) -> Sequence[str | Path]:
    """Where to look, in order: the given mirror, an address or a directory's path, then the public ones."""
    if not data_mirror:
        return source.mirrors
    if "://" in data_mirror:
        return [data_mirror.rstrip("/") + "/", *source.mirrors]
    return [root / data_mirror, *source.mirrors]


def _fetch_file(
    name: str, checksum: str, places: Sequence[str | Path], dimensions: int, classes: int, folder: Path
) -> np.ndarray:
    """One verified file as an array, from the first mirror that serves it right."""
    reasons = []
    for mirror in places:
        try:
            payload = _payload(_obtain(name, mirror, folder), checksum)
            return _read_idx(payload, dimensions, classes, folder)
        # requests' errors are OSErrors; gzip and zlib raise the other two on damaged files.
        except (OSError, EOFError, zlib.error, ValueError) as error:
            reasons.append(f"{mirror}: {_reason(error)}")
    raise UserError(
        f"no mirror has {name}: {'; '.join(reasons)}. Without a network, set DATA_MIRROR to a directory "
        "that holds the files, or use the bundled digits: dvc exp run -S dataset=digits"
    )


def _obtain(name: str, mirror: str | Path, folder: Path) -> Path:
    """The local path of a compressed file, downloaded if need be."""
    if isinstance(mirror, Path):
        return mirror / name
    import pooch

    # pooch would advise to note each file's checksum; here they are checked after decompression.
    pooch.get_logger().setLevel(logging.WARNING)
    (folder / name).unlink(missing_ok=True)
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=sys.stderr.isatty())
    return Path(pooch.retrieve(mirror + name, known_hash=None, fname=name, path=folder, downloader=downloader))


def _payload(compressed: Path, checksum: str) -> bytes:
    """The decompressed content, once its checksum is right."""
    with gzip.open(compressed) as file:
        payload = file.read(PAYLOAD_LIMIT + 1)
    if len(payload) > PAYLOAD_LIMIT:
        raise ValueError(f"holds more than {PAYLOAD_LIMIT} bytes")
    algorithm, expected = checksum.split(":")
    # MD5 is what is published for Fashion-MNIST and KMNIST; it tells damage, not malice.
    checked = payload if algorithm == "sha256" else compressed.read_bytes()
    actual = hashlib.new(algorithm, checked, usedforsecurity=False).hexdigest()
    if actual != expected:
        raise ValueError(f"wrong {algorithm} {actual}, must be {expected}")
    return payload


def _read_idx(payload: bytes, dimensions: int, classes: int, folder: Path) -> np.ndarray:
    """The array in an IDX file: uint8 images [N, height, width] or labels [N]."""
    from torchvision.datasets.mnist import read_sn3_pascalvincent_tensor

    path = folder / "payload"
    path.write_bytes(payload)
    try:
        array: np.ndarray = read_sn3_pascalvincent_tensor(str(path)).numpy()
    except (AssertionError, KeyError, ValueError, RuntimeError):  # few of them say anything of use
        raise ValueError("not an IDX file, or empty, or its length does not fit its header") from None
    if array.dtype != np.uint8 or array.ndim != dimensions:
        raise ValueError(f"holds {array.dtype} {list(array.shape)}, must be uint8 in {dimensions} dimensions")
    if dimensions == 1 and array.max() >= classes:
        raise ValueError(f"holds label {array.max()}, must be below {classes}")
    return array


def _reason(error: Exception) -> str:
    return " ".join(str(error.strerror if isinstance(error, OSError) and error.strerror else error).split())
