"""Reads pictures as people have them: PNG, JPEG, GIF, WebP, TIFF or BMP, with rotation, transparency and any depth."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from softmax_regression.base.errors import UserError, one_line

FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp", ".tif", ".tiff", ".bmp"})
MOST_PIXELS = 50_000_000
"""As many as a telephone's camera has; four bytes each while they are read."""
MOST_BYTES = 32 * 2**20
SHORTEST_SIDE = 1280
"""To which a JPEG of more pixels may be reduced while it is decoded: eight times as many as are looked at."""
EXIF_ORIENTATION = 0x0112

warnings.filterwarnings("ignore", module="PIL")  # of damaged EXIF and the like; the limit for sizes is ours


@dataclass(frozen=True)
class Picture:
    """A picture's grey levels, and what was done to get them."""

    grey: np.ndarray
    """uint8 [rows, columns], 0 black and 255 white."""
    notes: tuple[str, ...] = ()


def read(source: Path | bytes) -> Picture:
    """Read a picture from a file or its bytes.

    Raises UserError, in one sentence, where it is none or cannot be decoded, or is larger than MOST_BYTES or
    MOST_PIXELS, which its first bytes tell: nothing is decoded before.
    """
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > MOST_BYTES:
        raise UserError(f"{size:,} bytes, must be {MOST_BYTES:,} at most")
    if size == 0:
        raise UserError("is empty")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            columns, rows = image.size
            if columns * rows > MOST_PIXELS:
                raise UserError(f"{columns:,}×{rows:,} pixels, must be {MOST_PIXELS:,} at most")
            return _decode(image)
    except Image.DecompressionBombError:
        raise UserError(f"far too many pixels, must be {MOST_PIXELS:,} at most") from None
    except UnidentifiedImageError:
        raise UserError(f"no picture that can be read: {', '.join(FORMATS)} can") from None
    except UserError:
        raise
    except Exception as error:  # whatever a damaged file makes a decoder raise: SyntaxError, struct.error, …
        raise UserError(f"damaged: {one_line(error, 100)}") from None


def _decode(image: ImageFile.ImageFile) -> Picture:
    notes = []
    if getattr(image, "is_animated", False):
        notes.append("the first of several frames")
    image.draft(None, (SHORTEST_SIDE, SHORTEST_SIDE))  # of JPEG alone; a photo of 12 megapixels in 30 ms, not 120
    turned = ImageOps.exif_transpose(image)
    if image.getexif().get(EXIF_ORIENTATION, 1) != 1:
        notes.append("turned as the camera was held")
    if turned.mode.startswith("I") or turned.mode == "F":
        notes.append("more than 256 levels")
        return Picture(_from_depth(np.asarray(turned)), tuple(notes))
    if turned.has_transparency_data:
        notes.append("transparency put on white")
        colours = turned.convert("RGBA")
        return Picture(
            on_white(np.asarray(colours.convert("RGB").convert("L")), np.asarray(colours.getchannel("A"))), tuple(notes)
        )
    return Picture(np.asarray(turned.convert("L")), tuple(notes))


def on_white(grey: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Grey levels uint8 as they look on white paper through the transparency `alpha`, 255 hiding the paper."""
    opaque = grey.astype(np.int64) * alpha + 255 * (255 - alpha.astype(np.int64))
    return ((opaque + 127) // 255).astype(np.uint8)


def _from_depth(values: np.ndarray) -> np.ndarray:
    """Levels of more than 8 bits, by the range of their type, or where that is unknown by their own."""
    if values.dtype == np.uint16:
        return ((values.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8)
    finite = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = finite.min(), finite.max()
    return np.floor((finite - low) / max(high - low, 1e-300) * 255 + 0.5).astype(np.uint8)
