"""Files and folders of pictures, as people have them, for the tests."""

import io
import shutil
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def levels(seed: int, *size: int) -> np.ndarray:
    """Noise, uint8 of `size`, different for each seed."""
    return np.random.default_rng(seed).integers(0, 256, size or (6, 4), dtype=np.uint8)


def encoded(image: np.ndarray | Image.Image, form: str = "PNG", **settings: Any) -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, form, **settings)
    return buffer.getvalue()


def png(seed: int, *size: int) -> bytes:
    """A picture of noise."""
    return encoded(levels(seed, *size))


def bomb(width: int, height: int) -> bytes:
    """A sound PNG header that promises more pixels than there are."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files by their paths in a folder."""
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def two_classes(count: int = 5) -> dict[str, bytes]:
    """Files of `count` pictures each of cats and dogs, 6×4 pixels."""
    return {f"{name}/{i}.png": png(10 * i + at) for at, name in enumerate(("cat", "dog")) for i in range(count)}


def pack(folder: Path, form: str, path: Path) -> Path:
    """A folder's files as an archive: zip, tar, gztar or xztar."""
    return Path(shutil.make_archive(f"{path}.made", form, folder)).rename(path)
