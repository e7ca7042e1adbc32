"""The known data sets: where their files are, how they are verified, and how they become image sets."""

import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from softmax_regression.base.errors import UserError, one_line
from softmax_regression.data.images import ImageSet, Preparation
from softmax_regression.sources.arrays import read_idx

PAYLOAD_LIMIT = 64 * 2**20
"""Bytes; the largest file, MNIST's training images, holds 47,040,016. What holds more is refused, read no further,
compressed or not."""

TIMEOUT = (10, 30)
"""Seconds to wait for a connection, and for the next bytes of an answer."""

KNOWN = ("mnist", "fashion_mnist", "kmnist", "digits")

CHECKSUMS = {
    # Of the decompressed files: mirrors recompress MNIST, so that sums of the compressed files would refuse sound data.
    "mnist": (
        "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    # Of the files as published, as TensorFlow Datasets lists them; torchvision has MD5, which can be forged.
    "fashion_mnist": (
        "sha256-gz:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "sha256-gz:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "sha256-gz:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "sha256-gz:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
    "kmnist": (
        "sha256-gz:51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        "sha256-gz:e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        "sha256-gz:edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        "sha256-gz:20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    ),
}
"""In torchvision's order of the files."""

PREPARATIONS = {
    # LeCun et al., Gradient-based learning applied to document recognition (1998), III.A; how thin the lines may be was
    # chosen on held-out images (docs/preparation.md).
    "mnist": Preparation("strokes", box=20, centre="mass", least_ink=55),
    "fashion_mnist": Preparation("object", box=28),
    "kmnist": Preparation("strokes", box=28),
    "digits": Preparation("strokes", box=8),
}

FASHION_MNIST_MIRRORS = (
    "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
"""Instead of torchvision's, an S3 website: those have no https."""


@dataclass(frozen=True)
class Source:
    """A data set as four gzip-compressed IDX files on several mirrors."""

    dataset: str
    classes: tuple[str, ...]
    mirrors: tuple[str, ...]
    """Addresses that a file's name is appended to."""
    files: Mapping[str, str]
    """Checksum by name: training images, training labels, test images, test labels, in this order. A checksum is
    `sha256:…` of the decompressed payload, or `sha256-gz:…` of the compressed file as published."""
    preparation: Preparation = field(default_factory=Preparation)


def fetch(dataset: str, data_mirror: str | None, root: Path) -> tuple[ImageSet, ImageSet]:
    """The training and the test images of a known data set, verified.

    `data_mirror`, a URL or a directory (a relative one counts from `root`), is tried before the public mirrors.
    Raises UserError where no mirror serves the right files.
    """
    if dataset == "digits":
        return bundled_digits()
    return fetch_files(public_source(dataset), data_mirror, root)


def public_source(dataset: str) -> Source:
    """Files, mirrors and checksums of `mnist`, `fashion_mnist` or `kmnist`; their names as torchvision has them."""
    # Imported where it is used: torchvision takes 3 s, which digits need not wait for.
    from torchvision.datasets import KMNIST, MNIST, FashionMNIST

    known = {"mnist": MNIST, "fashion_mnist": FashionMNIST, "kmnist": KMNIST}[dataset]
    checksums = dict(zip((name for name, _ in known.resources), CHECKSUMS[dataset], strict=True))
    # torchvision names MNIST's classes "7 - seven".
    classes = tuple(name.split(" - ")[0] for name in known.classes)
    places = FASHION_MNIST_MIRRORS if dataset == "fashion_mnist" else known.mirrors
    secure = tuple(place.replace("http://", "https://") for place in places)
    return Source(dataset, classes, secure, checksums, PREPARATIONS[dataset])


def fetch_files(source: Source, data_mirror: str | None, root: Path) -> tuple[ImageSet, ImageSet]:
    """Fetch, verify and read the four files of a source; raises UserError with each mirror's reason."""
    places = mirrors(source, data_mirror, root)
    train_images, train_labels, test_images, test_labels = (
        _fetch_file(name, checksum, places, dimensions, len(source.classes))
        for (name, checksum), dimensions in zip(source.files.items(), (3, 1, 3, 1), strict=True)
    )
    # The public address whichever mirror it was: equal data must give equal bytes.
    origin = [(source.mirrors[0] + name, checksum) for name, checksum in source.files.items()]
    train, test = (
        ImageSet(images, labels.astype(np.int64), source.classes, source.dataset, dict(files), source.preparation)
        for images, labels, files in (
            (train_images, train_labels, origin[:2]),
            (test_images, test_labels, origin[2:]),
        )
    )
    return train, test


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
    everything = ImageSet(images, digits.target.astype(np.int64), classes, "digits", source, PREPARATIONS["digits"])
    return everything.hold_out(0.2)


def mirrors(source: Source, data_mirror: str | None, root: Path) -> Sequence[str | Path]:
    """Where to look, in order: the given mirror, an address or a directory's path, then the public ones."""
    if not data_mirror:
        return source.mirrors
    if "://" in data_mirror.removeprefix("file://"):
        return [data_mirror.rstrip("/") + "/", *source.mirrors]
    return [root / Path(data_mirror.removeprefix("file://")).expanduser(), *source.mirrors]


def _fetch_file(name: str, checksum: str, places: Sequence[str | Path], dimensions: int, classes: int) -> np.ndarray:
    """One verified file as an array, from the first mirror that serves it right."""
    reasons = []
    for mirror in places:
        try:
            payload = _payload(_obtain(name, mirror), checksum)
            return _read_idx(payload, dimensions, classes)
        # requests' errors are OSErrors; gzip and zlib raise the other two on damaged files.
        except (OSError, EOFError, zlib.error, ValueError) as error:
            reasons.append(f"{mirror}: {_reason(error)}")
    raise UserError(
        f"no mirror has {name}: {'; '.join(reasons)}. Without a network, set DATA_MIRROR to a directory "
        "that holds the files, or use the bundled digits: dvc exp run -S dataset=digits"
    )


class _Bounded(io.BytesIO):
    """A file in memory that refuses to grow beyond the limit, whatever length a server announces."""

    def write(self, content: Any) -> int:
        written = super().write(content)
        if self.tell() > PAYLOAD_LIMIT:
            raise ValueError(f"holds more than {PAYLOAD_LIMIT} bytes")
        return written


def _obtain(name: str, mirror: str | Path) -> bytes:
    """A compressed file, downloaded if need be."""
    compressed = _Bounded()
    if isinstance(mirror, Path):
        with (mirror / name).open("rb") as file:
            compressed.write(file.read(PAYLOAD_LIMIT + 1))
    else:
        from pooch import HTTPDownloader

        HTTPDownloader(timeout=TIMEOUT, progressbar=sys.stderr.isatty())(mirror + name, compressed, None)
    return compressed.getvalue()


def _payload(compressed: bytes, checksum: str) -> bytes:
    """The decompressed content, once its checksum is right."""
    payload = _Bounded()
    with gzip.open(io.BytesIO(compressed)) as file:
        payload.write(file.read(PAYLOAD_LIMIT + 1))
    kind, expected = checksum.split(":")
    actual = hashlib.sha256(payload.getvalue() if kind == "sha256" else compressed).hexdigest()
    if actual != expected:
        raise ValueError(f"wrong {kind} {actual}, must be {expected}")
    return payload.getvalue()


def _read_idx(payload: bytes, dimensions: int, classes: int) -> np.ndarray:
    """The array in an IDX file: uint8 images [N, height, width] or labels [N]."""
    array = read_idx(io.BytesIO(payload))
    if array.dtype != np.uint8 or array.ndim != dimensions:
        raise ValueError(f"holds {array.dtype.name} {list(array.shape)}, must be uint8 in {dimensions} dimensions")
    if dimensions == 1 and array.max() >= classes:
        raise ValueError(f"holds label {array.max()}, must be below {classes}")
    return array


def _reason(error: Exception) -> str:
    return one_line((isinstance(error, OSError) and error.strerror) or error)
