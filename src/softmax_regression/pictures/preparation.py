"""Makes of a picture an image like those that a model was trained on: docs/preparation.md, step by step.

drawing/preparation.js does the same in a browser, to the bit. So what is summed here are whole numbers below 2^53,
means are middle values found by sorting, and the rest is done element by element.
"""

import functools
import itertools
from dataclasses import dataclass, replace

import numpy as np

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import Preparation

MOST_CELLS = 160
"""On the longer side of what is looked at: eight for each of the 20 pixels of MNIST's box."""
ENOUGH_CELLS = 80
"""On the longer side of what was found; with fewer it is looked at again, from closer."""
PLAIN_SHARE = 0.4
"""Of cells within a level of the paper's middle one: more of them, and the paper is even, as on a screen."""
SMALLEST_PHOTO = 100
"""Pixels on the longer side; in a smaller picture lines and shadows cannot be told apart."""
OPENING = 6
"""Lines are thinner than twice the picture's longer side divided by this; what is wider is a shadow."""
LEAST_CONTRAST = 0.1
"""Between ink and paper, whose levels are 0 and 1; less is no drawing."""
FAINT, FAINT_IN_SMALL, NOISES = 0.35, 0.1, 4.0
"""What is below this share of the darkest ink, or of so many deviations of the paper's grain, is paper. A small picture
has no finer pixels at a line's edge to find it by."""
STEP_TO_DEVIATION = 1.0484
"""The standard deviation of normal noise, in medians of the difference of two neighbours: 1 / (√2 · 0.6745)."""
LEAST_CELLS = 5
"""Of ink, inside a picture whose edges have some too; fewer are specks."""
LONGEST_ALONG_EDGE = 0.5
"""The share of an edge that the end of a line may take."""
STRAY = 0.01
"""The share of the ink on each side that may lie outside the box, where a gap separates it."""
STRIP = 2**20
"""Levels of a picture that are scaled at once."""
LEVELS = 65535
"""Of ink, as whole numbers."""


@dataclass(frozen=True)
class Prepared:
    """An image for the model, and what was done to the picture."""

    image: np.ndarray
    """uint8 [height, width], 0 the paper and 255 the full stroke; or [height, width, 3]."""
    box: tuple[int, int, int, int]
    """What was taken of the picture, in its pixels: left, top, right, bottom; the last two outside."""
    inverted: bool = False
    """Whether the picture was dark on light."""
    levelled: bool = False
    """Whether uneven paper was levelled."""
    thickened: bool = False
    """Whether the lines were too thin."""


@dataclass(frozen=True)
class _Found:
    """What is drawn on a picture: ink in whole levels, float64 [rows, columns], and where it was."""

    ink: np.ndarray
    box: tuple[int, int, int, int]
    inverted: bool
    levelled: bool


def prepare(levels: np.ndarray, size: tuple[int, ...], how: Preparation) -> Prepared:
    """An image of `size` (height, width) from grey levels uint8 [rows, columns].

    In colour, of `size` (height, width, 3) from [rows, columns, 3], where `how` is to show a picture. Raises UserError
    where nothing is drawn.
    """
    if how.shows == "picture":
        rows, columns = levels.shape[:2]
        return Prepared(fit(levels, size), (0, 0, columns, rows))
    image = np.zeros(size, np.uint8)
    found = _find(levels, how.shows == "strokes" and max(levels.shape) >= SMALLEST_PHOTO)
    drawn = _levels(_scale(_square(found.ink), (how.box, how.box)))
    thin = float(drawn.sum()) < how.least_ink * drawn.size
    if thin:
        drawn = _thicken(drawn, how.least_ink)
    _place(image, drawn, _centre_of_mass(drawn) if how.centre == "mass" else None)
    return Prepared(image, found.box, found.inverted, found.levelled, thin)


def fit(levels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A picture scaled to `size`, whole and with its proportions, in the middle of black.

    Each pixel is the mean of what it covers. uint8 [rows, columns(, 3)] becomes uint8 [height, width(, 3)].
    """
    if levels.shape == size:
        return levels
    image = np.zeros(size, np.uint8)
    height, width = _fitting(levels.shape[:2], size[:2])
    rows = max(1, STRIP // levels[0].size)  # at once, as numpy makes floats of all that it sums up
    strips = [levels[start : start + rows] for start in range(0, len(levels), rows)]
    narrow = np.concatenate([_across(np.moveaxis(strip, 1, -1), width) for strip in strips])
    scaled = _across(np.moveaxis(narrow, 0, -1), height)
    if levels.ndim == 3:
        scaled = np.moveaxis(scaled, 0, -1)
    _place(image, np.floor(scaled.swapaxes(0, 1) / (levels.shape[0] * levels.shape[1]) + 0.5), None)
    return image


def _find(grey: np.ndarray, may_be_photo: bool) -> _Found:
    cells, factor = _cells(grey)
    # Every other cell differs from its neighbour: paper as a camera sees it, and not as a program paints it.
    photo = may_be_photo and 2 * np.count_nonzero(cells[:, 1:] != cells[:, :-1]) > cells.size
    # On a photo of a sheet the edges may be the table's.
    paper = _middle(cells if photo else _frame(cells))
    inverted = bool(paper - cells.min() > cells.max() - paper)
    if not inverted:
        cells, paper = 255 - cells, 255 - paper
    plain = not may_be_photo or bool((np.abs(cells - paper) <= 1).mean() >= PLAIN_SHARE)
    ink, least = _even_ink(cells, paper, FAINT if may_be_photo else FAINT_IN_SMALL) if plain else _uneven_ink(cells)
    inked = _away_from_edges(ink > least, 2 * ink > least) if photo else ink > least
    top, bottom, left, right = _box(np.where(inked, ink, 0))
    if factor > 1 and max(bottom - top, right - left) < ENOUGH_CELLS:
        first, last, start, end = _closer(grey.shape, factor, (top, bottom, left, right))
        part = grey[first:last, start:end]
        if _factor(part.shape) < factor:
            found = _find(part, may_be_photo)
            x0, y0, x1, y1 = found.box
            return replace(found, box=(x0 + start, y0 + first, x1 + start, y1 + first))
    drawn = ink[top:bottom, left:right]
    if not plain:
        drawn = np.where(2 * drawn > least, drawn, 0)  # grain would be grey in the image
    rows, columns = grey.shape
    box = (left * factor, top * factor, min(right * factor, columns), min(bottom * factor, rows))
    return _Found(drawn, box, inverted, not plain)


def _away_from_edges(inked: np.ndarray, faintly: np.ndarray) -> np.ndarray:
    """Without what hangs together with the picture's edges, if only `faintly`, bool [rows, columns] both.

    That is shadows, whose end is uneven, and the table's edge. Unless nothing is left then: a line may run out of the
    picture. Raises UserError where it is no line.
    """
    reached = np.zeros_like(inked)
    reached[[0, -1]], reached[:, [0, -1]] = inked[[0, -1]], inked[:, [0, -1]]
    along = max(part.mean() for part in (reached[0], reached[-1], reached[:, 0], reached[:, -1]))
    count, before = int(reached.sum()), 0
    while count > before:
        reached[1:] |= reached[:-1]
        reached[:-1] |= reached[1:]
        reached[:, 1:] |= reached[:, :-1]
        reached[:, :-1] |= reached[:, 1:]
        reached &= faintly
        count, before = int(reached.sum()), count
    left = inked & ~reached
    if left.sum() >= LEAST_CELLS:
        return left
    if along > LONGEST_ALONG_EDGE:
        raise UserError("nothing is drawn on it")
    return inked


def _factor(shape: tuple[int, ...]) -> int:
    return -(-max(shape) // MOST_CELLS)


def _cells(grey: np.ndarray) -> tuple[np.ndarray, int]:
    """The means of square cells, float64, and how many pixels wide they are; the last ones may hold fewer."""
    factor = _factor(grey.shape)
    if factor == 1:
        return grey.astype(np.float64), 1
    rows, columns = grey.shape
    # Line by line: numpy's sum over the axis takes three times as long.
    lines: np.ndarray = grey[::factor].astype(np.uint16 if factor <= 257 else np.uint32)
    for line in range(1, min(factor, rows)):
        part = grey[line::factor]
        lines[: len(part)] += part
    cells = lines[:, ::factor].astype(np.int64)
    for column in range(1, min(factor, columns)):
        part = lines[:, column::factor]
        cells[:, : part.shape[1]] += part
    down, across = (np.minimum(factor, length - np.arange(0, length, factor)) for length in grey.shape)
    return cells / (down[:, None] * across), factor


def _frame(cells: np.ndarray) -> np.ndarray:
    """The cells along the four edges, a twentieth of the shorter side wide; those in the corners twice."""
    width = max(1, min(cells.shape) // 20)
    return np.concatenate(
        [part.ravel() for part in (cells[:width], cells[-width:], cells[:, :width], cells[:, -width:])]
    )


def _middle(values: np.ndarray) -> float:
    """The middle one, of an even number the upper of the two."""
    return float(np.partition(values.ravel(), values.size // 2)[values.size // 2])


def _even_ink(cells: np.ndarray, paper: float, faint: float) -> tuple[np.ndarray, float]:
    """Ink in whole levels on paper that is equally bright everywhere, and the least that counts."""
    ink = _to_levels((paper - cells) / max(paper, 1.0))
    return ink, faint * _darkest(ink, LEAST_CONTRAST * LEVELS)


def _uneven_ink(cells: np.ndarray) -> tuple[np.ndarray, float]:
    """Likewise, beside what the paper nearby lets through: a shadow dims ink and paper by the same factor."""
    radius = max(1, max(cells.shape) // OPENING)
    paper = _slide(_slide(cells, np.maximum, radius), np.minimum, radius)
    dimmed = (paper - cells) / np.maximum(paper, 1.0)
    # From neighbours: of broad soft lines most cells are ink, and these differ little.
    steps = np.abs(dimmed[:, 1:] - dimmed[:, :-1])
    grain = NOISES * (STEP_TO_DEVIATION * _middle(steps)) if steps.size else 0.0
    ink = _to_levels(dimmed - min(_middle(dimmed), grain))  # the largest cells nearby are lighter than the paper
    return ink, max(FAINT * _darkest(ink, max(LEAST_CONTRAST, grain) * LEVELS), grain * LEVELS)


def _to_levels(share: np.ndarray) -> np.ndarray:
    return np.floor(np.maximum(share, 0) * LEVELS + 0.5)


def _darkest(ink: np.ndarray, least: float) -> float:
    darkest = float(ink.max())
    if darkest <= least:
        raise UserError("nothing is drawn on it")
    return darkest


def _slide(cells: np.ndarray, pick: np.ufunc, radius: int) -> np.ndarray:
    """The largest or smallest value in the square of ±radius around each cell, edges repeated.

    In windows of 1, 2, 4, … cells, and the last one from two that overlap (van Herk's idea, by doubling).
    """
    window = 2 * radius + 1
    for axis in (0, 1):
        picked = np.pad(cells, [(radius, radius) if each == axis else (0, 0) for each in (0, 1)], mode="edge")
        length = 1
        while length < window:
            step = min(length, window - length)
            picked = pick(picked[:-step], picked[step:]) if axis == 0 else pick(picked[:, :-step], picked[:, step:])
            length += step
        cells = picked
    return cells


def _box(ink: np.ndarray) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of the ink, without strays; the second and the fourth outside."""
    top, bottom = _span(ink.sum(1))
    left, right = _span(ink[top:bottom].sum(0))
    return *_span(ink[:, left:right].sum(1)), left, right


def _span(ink: np.ndarray) -> tuple[int, int]:
    """Where the lines begin and end that have ink: from those with 1 % of it outside on to the next empty one."""
    lines = ink.tolist()
    stray = STRAY * sum(lines)
    first = next(at for at, seen in enumerate(itertools.accumulate(lines)) if seen > stray)
    last = next(at for at, seen in enumerate(itertools.accumulate(reversed(lines))) if seen > stray)
    last = len(lines) - 1 - last
    while first > 0 and lines[first - 1] > 0:
        first -= 1
    while last < len(lines) - 1 and lines[last + 1] > 0:
        last += 1
    return first, last + 1


def _closer(shape: tuple[int, ...], factor: int, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Top, bottom, left, right in pixels of the box with a margin of half its longer side."""
    top, bottom, left, right = (each * factor for each in box)
    margin = max(bottom - top, right - left) // 2 + factor
    rows, columns = shape
    return max(top - margin, 0), min(bottom + margin, rows), max(left - margin, 0), min(right + margin, columns)


def _square(drawn: np.ndarray) -> np.ndarray:
    """The same in the middle of a square as long as its longer side."""
    rows, columns = drawn.shape
    side = max(rows, columns)
    above, before = (side - rows) // 2, (side - columns) // 2
    square = np.zeros((side, side))  # np.pad takes ten times as long
    square[above : above + rows, before : before + columns] = drawn
    return square


def _fitting(shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, int]:
    """The height and width of the largest picture with the proportions of `shape` that fits into `size`."""
    (rows, columns), (height, width) = shape, size
    if rows * width > columns * height:
        return height, max(1, (2 * columns * height + rows) // (2 * rows))
    return max(1, (2 * rows * width + columns) // (2 * columns)), width


def _scale(cells: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Each pixel's share of each cell that it covers, summed up: areas in whole units, so that the sums are exact."""
    down, across = (_overlaps(length, count) for length, count in zip(cells.shape, size, strict=True))
    return down @ cells @ across.T


def _across(levels: np.ndarray, count: int) -> np.ndarray:
    """The same along the last axis alone, to `count` pixels; float64.

    As sums up to where each pixel begins. Of MOST_CELLS cells that takes four times as long, but a picture may have
    millions of pixels in a row, and a table of overlaps as large would fill the memory.
    """
    length = levels.shape[-1]
    whole, part = np.divmod(np.arange(count) * length, count)
    sums = np.add.reduceat(levels, whole, axis=-1, dtype=np.float64) * count
    sums[..., :-1][..., whole[:-1] == whole[1:]] = 0  # reduceat takes one cell where there is none
    begun = levels[..., whole] * part.astype(np.float64)
    sums -= begun
    sums[..., :-1] += begun[..., 1:]
    return sums


@functools.lru_cache(maxsize=1024)
def _overlaps(length: int, count: int) -> np.ndarray:
    """How far `count` equal pixels overlap `length` equal cells, in parts of both: float64 [count, length]."""
    cell, pixel = np.arange(length) * count, np.arange(count)[:, None] * length
    shared = np.minimum(cell + count, pixel + length) - np.maximum(cell, pixel)
    return np.maximum(shared, 0).astype(np.float64)


def _levels(drawn: np.ndarray) -> np.ndarray:
    """Scaled so that the darkest pixel has 255, as MNIST's have."""
    return np.floor(drawn / drawn.max() * 255 + 0.5)


def _thicken(drawn: np.ndarray, least: int) -> np.ndarray:
    """Each pixel brought nearer to the darkest of its four neighbours, all by one share, until the mean is `least`."""
    around = np.zeros((len(drawn) + 2, len(drawn) + 2))
    around[1:-1, 1:-1] = drawn
    neighbours = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    missing = np.maximum(np.maximum.reduce(neighbours) - drawn, 0)
    share = min(1.0, float(least * drawn.size - drawn.sum()) / max(float(missing.sum()), 1.0))
    return np.floor(drawn + share * missing + 0.5)


def _centre_of_mass(drawn: np.ndarray) -> tuple[float, float]:
    """Down and across from the corner, in pixels; in halves of them, so that the sums are whole."""
    twice = np.arange(1.0, 2 * len(drawn), 2)
    rows, columns = drawn.sum(1), drawn.sum(0)
    mass = 2 * float(rows.sum())
    return float(rows @ twice) / mass, float(columns @ twice) / mass


def _place(image: np.ndarray, drawn: np.ndarray, centre: tuple[float, float] | None) -> None:
    """Write what is drawn into an image: its middle in the image's, or `centre` as near to that as whole pixels allow.

    As in the program that made MNIST, half a pixel goes down and to the right (Yadav and Bottou, Cold case: the lost
    MNIST digits, 2019, and their code).
    """
    places = []
    for axis in (0, 1):
        room = image.shape[axis] - drawn.shape[axis]
        wanted = room // 2 if centre is None else int(np.floor(image.shape[axis] / 2 + 1 - centre[axis]))
        places.append(min(max(wanted, 0), room))
    top, left = places
    image[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
