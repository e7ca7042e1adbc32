"""Somebody's labelled pictures as they were found, before any of them is decoded."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

Content = bytes | np.ndarray | str
"""A picture's file, or its levels uint8 [rows, columns(, 3)], or the reason why there is neither."""

UNDIVIDED, TRAIN, VALID, TEST = "", "train", "valid", "test"
"""The parts that a picture may be in."""


@dataclass(frozen=True)
class Collection:
    """Pictures of which the names, the classes and the parts are known, and how to get their contents."""

    names: list[str]
    """Where each picture is, below the data set's path."""
    labels: list[str]
    """The class of each."""
    parts: list[str]
    """The part of each: all of them undivided, or each train, valid or test."""
    contents: Callable[[], Iterator[Content]]
    """The content of each, in their order, as often as it is called; one at a time, as all may not fit into memory."""
    classes: tuple[str, ...] = ()
    """The names of the classes where their order is given; else it is the natural one."""
    problems: tuple[str, ...] = ()
    """What is wrong beside the pictures that are listed, each with its path."""
    notes: tuple[str, ...] = ()
    """What was passed over or decided, in words."""


def natural_order(names: Iterable[str]) -> list[str]:
    """Distinct names sorted so that numbers in them count as numbers: 2 before 10."""
    return sorted(set(names), key=natural_key)


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """What to sort a name by; the name itself decides between those that differ in zeros or case alone."""
    pieces = re.findall(r"\d+|\D+", name)
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece.casefold()) for piece in pieces], name


def in_one_form(name: str) -> str:
    """The name in Unicode's normal form NFC: macOS writes é as two characters, others as one."""
    return unicodedata.normalize("NFC", name)
