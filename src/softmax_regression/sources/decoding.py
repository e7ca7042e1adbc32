"""Decodes and scales pictures, in as many processes as there are processors."""

import hashlib
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from softmax_regression.base.errors import UserError
from softmax_regression.base.running import end_without
from softmax_regression.pictures.preparation import fit
from softmax_regression.pictures.reading import Picture, read, to_colours
from softmax_regression.sources.collection import Content

FEW = 200
"""Pictures up to which this process works alone: starting others takes half a second."""
CHUNK_PICTURES, CHUNK_BYTES = 256, 4 * 2**20
"""What is handed to a process at once, at most; so that memory is bounded whatever the pictures are."""
DIGEST_BYTES = 16

Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a picture."""

    sha256: str = ""
    """Of its file; of an array, of its levels."""
    size: tuple[int, int] = (0, 0)
    """Height and width as found, turned as the camera was held."""
    has_colour: bool = False
    """Whether its file can hold colours."""
    digest: bytes = b""
    """Of the picture's levels before they were scaled: equal where these are."""
    done: str = ""
    """What was done to it, in words."""
    problem: str = ""
    """Why it cannot be used."""


Decoded = tuple[Found, np.ndarray | None]


def decode(contents: Iterable[Content], count: int, size: tuple[int, ...]) -> Iterator[Decoded]:
    """Each of `count` pictures, scaled to `size`: (height, width), or (height, width, 3) in colour; and what it was.

    The image is missing where there is a problem.
    """
    return _in_processes(partial(_decode, size), contents, count)


def _decode(size: tuple[int, ...], content: Content) -> Decoded:
    if isinstance(content, str):
        return Found(problem=content), None
    in_colour = len(size) == 3
    if isinstance(content, np.ndarray):
        sha256 = hashlib.sha256(content.tobytes()).hexdigest()
        picture = Picture(to_colours(content, in_colour), has_colour=content.ndim == 3)
    else:
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            picture = read(content, in_colour)
        except UserError as error:
            return Found(sha256, problem=str(error)), None
    levels = picture.levels
    digest = hashlib.blake2b(levels.tobytes(), digest_size=DIGEST_BYTES, key=repr(levels.shape).encode()).digest()
    rows, columns = (round(length * picture.reduction) for length in levels.shape[:2])
    done = [*picture.notes]
    done += ["made grey"] * (picture.has_colour and not in_colour) + ["scaled"] * ((rows, columns) != size[:2])
    return Found(sha256, (rows, columns), picture.has_colour, digest, "; ".join(done)), fit(levels, size)


def _in_processes(function: Callable[[Given], Made], given: Iterable[Given], count: int) -> Iterator[Made]:
    """As `map`, in other processes where there are more than a few; few results are held at a time."""
    processes = os.cpu_count() or 1
    if count <= FEW or processes == 1:
        yield from map(function, given)
        return
    # Not forked: a thread watches whether DVC lives, and a fork could keep its locks for ever.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, initializer=_begin, initargs=(os.getpid(),)) as pool:
        waiting: deque[Future[list[Made]]] = deque()
        try:
            for chunk in _chunks(given):
                waiting.append(pool.submit(_map, function, chunk))
                if len(waiting) > 2 * processes:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool:
            raise UserError("a process that decodes pictures was killed: is there too little memory?") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(parent: int) -> None:
    """In a new process: end with the parent, which alone answers Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_without(parent)


def _map(function: Callable[[Given], Made], chunk: Iterable[Given]) -> list[Made]:
    return list(map(function, chunk))


def _chunks(given: Iterable[Given]) -> Iterator[list[Given]]:
    chunk: list[Given] = []
    size = 0
    for each in given:
        chunk.append(each)
        size += len(each) if isinstance(each, bytes) else getattr(each, "nbytes", 0)
        if len(chunk) == CHUNK_PICTURES or size > CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
