"""Pictures as people bring them, made from images whose class is known, for the tests and docs/preparation.md."""

from collections.abc import Mapping

import numpy as np
from PIL import Image
from scipy.ndimage import minimum_filter

KINDS: Mapping[str, str] = {
    "plain": "the image itself, 28×28",
    "shifted": "light on black, scaled and shifted",
    "inverted": "dark on white",
    "paper": "dark on grey paper",
    "noise": "dark on grey paper, with noise",
    "shadow": "dark on grey paper, with noise, a soft shadow on a part",
    "corner": "dark on grey paper, with noise, a sharp shadow in a corner",
    "table": "dark on a grey sheet, with noise, on a darker table",
    "thin": "dark on white, lines half as wide",
}
"""All but the first are scaled, shifted, and 100 to 1,000 pixels wide."""
SMALLEST = 28
"""Pixels; what would be lost in fewer no preparation brings back."""
INK, PAPER, TABLE = 60, 190, 100
NOISE = 8.0
"""Standard deviation, in levels."""
SHADOW = 0.4
"""The share of the light that it takes."""


def redraw(image: np.ndarray, kind: str, random: np.random.Generator) -> np.ndarray:
    """A picture uint8 [rows, columns] of an image, 255 the full stroke, redrawn as `kind`.

    Scaled by 0.3 to 3, where 1 is a third of the picture and 3 fills it.
    """
    if kind == "plain":
        return image
    side = int(random.integers(100, 1001))
    length = max(SMALLEST, round(side / 3 * 10 ** random.uniform(np.log10(0.3), np.log10(3))))
    drawn = np.asarray(Image.fromarray(image).resize((length, length), Image.Resampling.BICUBIC))
    if kind == "thin":
        drawn = thinned(drawn)
    picture = np.zeros((side, side))
    top, left = random.integers(0, side - length + 1, 2)
    picture[top : top + length, left : left + length] = drawn
    if kind in ("inverted", "thin"):
        picture = 255 - picture
    if kind in ("paper", "noise", "shadow", "corner", "table"):
        picture = PAPER - picture * ((PAPER - INK) / 255)
    if kind == "table":
        picture = np.pad(picture, side // 8, constant_values=TABLE)
        side = len(picture)
    if kind == "corner":
        picture[-int(side * random.uniform(0.1, 0.3)) :, : int(side * random.uniform(0.1, 0.3))] *= 1 - SHADOW
    if kind in ("noise", "shadow", "corner", "table"):
        picture += random.normal(0, NOISE, picture.shape)
    if kind == "shadow":
        down, across = np.mgrid[:side, :side] / side
        angle, place = random.uniform(0, 2 * np.pi), random.uniform(-0.2, 0.2)
        from_edge = np.cos(angle) * (across - 0.5) + np.sin(angle) * (down - 0.5) + place
        picture *= 1 - SHADOW / (1 + np.exp(-12 * from_edge))
    return (picture + 0.5).clip(0, 255).astype(np.uint8)


def thinned(drawn: np.ndarray) -> np.ndarray:
    """Lines of about half their width, at least where something would be left of them."""
    sharp = ((drawn > 128) * 255).astype(np.uint8)
    thin = minimum_filter(sharp, 2 * max(1, len(drawn) // 50) + 1)
    return thin if thin.any() else sharp
