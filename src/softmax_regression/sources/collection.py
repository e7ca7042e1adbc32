"""Somebody's labelled pictures as they were found, before any of them is decoded."""

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    numbers: Sequence[int] = ()
    """Where each stands in the order that whoever collected them gave them, if there is one."""
    classes: tuple[str, ...] = ()
    """The names of the classes where their order is given; else it is the natural one."""
    problems: tuple[str, ...] = ()
    """What is wrong beside the pictures that are listed, each with its path."""
    notes: tuple[str, ...] = ()
    """What was passed over or decided, in words."""


def natural_order(names: Iterable[str]) -> list[str]:
    """Distinct names sorted so that numbers in them count as numbers: 2 before 10."""
    return sorted(set(names), key=natural_key)


def natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    """What to sort a name by; the name itself decides between those that differ in zeros or case alone."""
    pieces = re.findall(r"\d+|\D+", name)
    # A number by how long it is, then digit by digit: Python refuses to read one of more than 4,300 digits.
    numbers = [piece.lstrip("0") if piece.isdecimal() else None for piece in pieces]
    return [
        (sys.maxsize, piece.casefold()) if number is None else (len(number), number)
        for piece, number in zip(pieces, numbers, strict=True)
    ], name


def in_one_form(name: str) -> str:
    """The name in Unicode's normal form NFC: macOS writes é as two characters, others as one."""
    return unicodedata.normalize("NFC", name)


def is_class_name(text: str) -> bool:
    """Whether a text can be the name of a class: not blank, and nothing that a terminal would obey."""
    return text.isprintable() and bool(text.strip())
