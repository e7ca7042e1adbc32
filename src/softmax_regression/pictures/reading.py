"""Reads pictures as people have them: PNG, JPEG, GIF, WebP, TIFF or BMP, with rotation, transparency and 16 bits."""

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from softmax_regression.base.errors import UserError, one_line

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")
ANIMATED = ("PNG", "GIF", "WEBP", "TIFF")
"""Formats whose further frames are worth a word; a telephone's JPEG may hold a preview."""
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp"})
MOST_PIXELS = 50_000_000
"""As many as a telephone's camera has."""
MOST_BYTES = 32 * 2**20
SHORTEST_SIDE = 1280
"""To which a JPEG of more pixels may be reduced while it is decoded: eight times as many as are looked at."""
STRIP = 2**20
"""Pixels of which levels are computed at once, so that they take little beside the picture."""
EXIF_ORIENTATION = 0x0112

warnings.filterwarnings("ignore", module="PIL")  # of damaged EXIF and the like; the limit for sizes is ours


@dataclass(frozen=True)
class Picture:
    """A picture's levels, and what was done to get them."""

    levels: np.ndarray
    """uint8 [rows, columns], 0 black and 255 white; in colour [rows, columns, 3], red, green and blue."""
    notes: tuple[str, ...] = ()
    reduction: float = 1.0
    """How many of its own pixels on a side one of these stands for."""
    has_colour: bool = False
    """Whether its file can hold colours, even if it is read in grey."""


def read(source: Path | bytes, in_colour: bool = False) -> Picture:
    """Read a picture from a file or its bytes, in grey or in colour.

    Raises UserError, in one sentence, where it is none or cannot be decoded, or is larger than MOST_BYTES or
    MOST_PIXELS, which its first bytes tell: nothing is decoded before. Raises OSError where the file cannot be read.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(MOST_BYTES + 1)
    try:
        with open_image(source) as image:
            return _decode(image, in_colour)
    except UserError:
        raise
    except Exception as error:  # whatever a damaged file makes a decoder raise: SyntaxError, struct.error, …
        raise UserError(f"cannot be decoded: {one_line(error, 100)}") from None


@contextmanager
def open_image(content: bytes) -> Iterator[ImageFile.ImageFile]:
    """A picture of which nothing is decoded yet; raises UserError where it is none, or too large."""
    if len(content) > MOST_BYTES:
        raise UserError(f"more than {MOST_BYTES:,} bytes")
    if not content:
        raise UserError("is empty")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            columns, rows = image.size
            if columns * rows > MOST_PIXELS:
                raise UserError(f"{columns:,}×{rows:,} pixels, must be {MOST_PIXELS:,} at most")
            yield image
    except Image.DecompressionBombError:
        raise UserError(f"far too many pixels, must be {MOST_PIXELS:,} at most") from None
    except UnidentifiedImageError:
        raise UserError(f"no picture that can be read: {', '.join(FORMATS)} can; save HEIC as JPEG") from None


def count_pixels(content: bytes) -> int:
    """How many pixels a picture says it has; 0 where `read` will refuse it."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return image.width * image.height
    except Exception:
        return 0


def _has_colour(image: ImageFile.ImageFile) -> bool:
    if image.mode == "P" and image.palette:
        return any(len(set(colour[:3])) > 1 for colour in image.palette.colors)
    return image.mode not in GREY_MODES


def to_colours(levels: np.ndarray, in_colour: bool) -> np.ndarray:
    """Levels [rows, columns] or [rows, columns, 3] as grey or in colour, as they would be if they were a picture's."""
    if (levels.ndim == 3) == in_colour:
        return levels
    return np.asarray(Image.fromarray(levels).convert("RGB" if in_colour else "L"))


def _decode(image: ImageFile.ImageFile, in_colour: bool) -> Picture:
    notes, longest = [], max(image.size)
    if image.format in ANIMATED and getattr(image, "is_animated", False):
        notes.append("the first of several frames")
    image.draft(None, (SHORTEST_SIDE, SHORTEST_SIDE))  # of JPEG alone; a photo of 12 megapixels in 30 ms, not 120
    turned: Image.Image = image
    if image.getexif().get(EXIF_ORIENTATION, 1) != 1:
        notes.append("turned as the camera was held")
        turned = ImageOps.exif_transpose(image)
    if turned.mode in ("I", "F"):
        raise UserError("levels of 32 bits, must have 8 or 16")
    if turned.mode.startswith("I;16"):
        notes.append("16 bits a pixel")
        turned = Image.fromarray(_by_strips(from_16_bits, np.asarray(turned)))
    wanted = "RGB" if in_colour else "L"
    if turned.has_transparency_data:
        colours = turned.convert("RGBA")
        alpha = np.asarray(colours.getchannel("A"))
        if alpha.min() != 255:
            notes.append("transparency put on white")
        hidden = np.broadcast_to(alpha[..., None], (*alpha.shape, 3)) if in_colour else alpha
        levels = _by_strips(on_white, np.asarray(colours.convert(wanted)), hidden)
    else:
        levels = np.asarray(turned if turned.mode == wanted else turned.convert(wanted))
    return Picture(levels, tuple(notes), longest / max(turned.size), _has_colour(image))


def on_white(levels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Levels uint8 as they look on white paper through the transparency `alpha`, 255 hiding the paper."""
    opaque = levels.astype(np.uint32) * alpha + 255 * (255 - alpha.astype(np.uint32))
    return (opaque + 127) // 255


def from_16_bits(levels: np.ndarray) -> np.ndarray:
    """Levels of 16 bits scaled by their range: 65535 becomes 255, whole numbers still to be made uint8."""
    return (levels.astype(np.uint32) * 255 + 32767) // 65535


def _by_strips(compute: Callable[..., np.ndarray], *arrays: np.ndarray) -> np.ndarray:
    """What is computed of arrays [rows, …], as uint8, a few rows at a time."""
    computed = np.empty(arrays[0].shape, np.uint8)
    rows = max(1, STRIP // computed[0].size)
    for start in range(0, len(computed), rows):
        computed[start : start + rows] = compute(*(array[start : start + rows] for array in arrays))
    return computed
