"""What a request may hold, and the pictures in it; too large a body is refused before it is kept."""

import asyncio
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
from fastapi import Request
from pydantic_core import from_json
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from softmax_regression.base.errors import one_line
from softmax_regression.pictures.reading import MOST_BYTES

MOST_FILES = 1000
SOME_BYTES = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""Content types of a picture whose sender does not say more; the last is what curl puts there by itself."""
MOST_BYTES_OF_JSON = 4 * 2**20
"""A thousand images of 28×28; while it is parsed, a second at most, nobody else is answered."""
LARGE_BODY, MOST_LARGE_BODIES = 2**20, 8
"""Bytes from which on a body counts as large, and how many such are received at once."""
MOST_DRAINED = 8 * MOST_BYTES
"""Bytes of too large a body that are read and thrown away, so that its sender gets to see the answer."""
SECONDS_TO_SEND = 60.0
CLOSE = {"Connection": "close"}
"""Whoever is still sending would otherwise be listened to for ever."""

LEVEL = {"type": "integer", "minimum": 0, "maximum": 255}
COLOUR = {"type": "array", "items": LEVEL, "minItems": 3, "maxItems": 3}
BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": BINARY,
            "application/octet-stream": BINARY,
            "application/x-www-form-urlencoded": BINARY,
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files"],
                    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            },
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {
                            "type": "array",
                            "description": "Levels from 0, black, to 255, white: [images][rows][columns], or in "
                            "colour [images][rows][columns][red, green, blue].",
                            "items": {"type": "array", "items": {"type": "array", "items": {"oneOf": [LEVEL, COLOUR]}}},
                        }
                    },
                }
            },
        },
    }
}
"""For OpenAPI."""


async def pictures_in(request: Request) -> list[tuple[str, bytes | np.ndarray]]:
    """The pictures of a request with their names: bytes still to be read, or levels uint8 [rows, columns(, 3)].

    Raises HTTPException, with one sentence, where there are none, or they do not arrive in time.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        async with asyncio.timeout(SECONDS_TO_SEND):
            if kind.startswith("image/") or kind in SOME_BYTES:
                return [("picture", await request.body())]
            if kind == "multipart/form-data":
                async with request.form(max_files=MOST_FILES, max_fields=MOST_FILES) as form:
                    return await _from_form(form)
            if kind == "application/json":
                return _from_json(await request.body())
    except TimeoutError:
        raise HTTPException(408, f"the body did not arrive within {SECONDS_TO_SEND:.0f} s", CLOSE) from None
    raise HTTPException(415, f"{one_line(kind, 100)}: send image/…, multipart/form-data or JSON")


async def _from_form(form: FormData) -> list[tuple[str, bytes | np.ndarray]]:
    files = form.getlist("files")
    if not files or not all(isinstance(file, UploadFile) for file in files):
        raise HTTPException(422, "the form has no pictures: send them as `files`, as in curl -F files=@7.png")
    return [(file.filename or "picture", await file.read()) for file in files if isinstance(file, UploadFile)]


def _from_json(body: bytes) -> list[tuple[str, bytes | np.ndarray]]:
    if len(body) > MOST_BYTES_OF_JSON:
        raise HTTPException(413, f"JSON of {len(body):,} bytes, must be {MOST_BYTES_OF_JSON:,} at most: send pictures")
    try:
        images = from_json(body)["images"]
        count = len(images)
    except (ValueError, KeyError, TypeError):
        raise HTTPException(422, 'not JSON such as {"images": [[[255, 0], [255, 255]]]}') from None
    if not (isinstance(images, list) and 0 < count <= MOST_FILES):
        raise HTTPException(422, f"{count:,} images, must be 1 to {MOST_FILES:,}, in a list")
    return [(f"images[{number}]", _levels(image, number)) for number, image in enumerate(images)]


def _levels(image: Any, number: int) -> np.ndarray:
    try:
        if not all(isinstance(row, list) for row in image):
            raise TypeError
        in_colour = isinstance(image[0][0], list)
        # A row's bytes, which are refused for all but whole numbers from 0 to 255: three times as fast as np.array.
        rows = [bytes(_numbers(row) if in_colour else row) for row in image]
        levels = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)
        if {len(row) for row in rows} != {levels.shape[1]}:
            raise ValueError
    except (TypeError, ValueError, IndexError, KeyError):
        numbers = "whole numbers from 0 to 255, or of three such for red, green and blue"
        raise HTTPException(422, f"images[{number}]: must be a list of rows of {numbers}, all equally long") from None
    return levels.reshape(len(rows), -1, 3) if in_colour else levels


def _numbers(row: list[Any]) -> Iterable[Any]:
    if any(not isinstance(pixel, list) or len(pixel) != 3 for pixel in row):
        raise ValueError
    return itertools.chain.from_iterable(row)


class BodyLimit:
    """Refuses too large a body before it is kept, and receives few large ones at once: so memory is bounded."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.large = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its body limited."""
        length = dict(scope["headers"]).get(b"content-length", b"") if scope["type"] == "http" else b"0"
        if length.isdigit() and int(length) < LARGE_BODY:
            await self.app(scope, receive, send)
            return
        size, is_counted = 0, False

        async def limited() -> Message:
            nonlocal size, is_counted
            message = await receive()
            size += len(message.get("body", b""))
            if size >= LARGE_BODY and not is_counted:
                if self.large >= MOST_LARGE_BODIES:
                    raise HTTPException(503, "too many large pictures arrive at once: try again", CLOSE)
                self.large, is_counted = self.large + 1, True
            while size > MOST_BYTES and message.get("more_body") and size < MOST_DRAINED:
                message = await receive()
                size += len(message.get("body", b""))
            if size > MOST_BYTES:
                raise HTTPException(413, f"the body is too large, must have {MOST_BYTES:,} bytes at most", CLOSE)
            return message

        try:
            await self.app(scope, limited, send)
        finally:
            self.large -= is_counted
