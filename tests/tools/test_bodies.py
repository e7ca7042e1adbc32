"""What bounds the memory that requests take, and the time: few large bodies at once, each within a deadline."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from softmax_regression.pictures.reading import MOST_BYTES
from softmax_regression.tools import bodies
from softmax_regression.tools.bodies import LARGE_BODY, MOST_DRAINED, MOST_LARGE_BODIES, BodyLimit, pictures_in

SCOPE: Scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"image/png")]}


async def take(scope: Scope, receive: Receive, _: Send) -> None:
    """An application that keeps what it is sent."""
    scope["taken"] = await pictures_in(Request(scope, receive))


async def nowhere(_: Message) -> None:
    pass


def sender(*parts: bytes, then: Callable[[], Awaitable[object]] | None = None) -> Receive:
    """Sends parts of a body one after the other, and waits before the last."""
    left = list(parts)

    async def receive() -> Message:
        part = left.pop(0)
        if not left and then:
            await then()
        return {"type": "http.request", "body": part, "more_body": bool(left)}

    return receive


def test_only_so_many_large_bodies_are_received_at_once() -> None:
    async def arrive() -> list[object]:
        limit, release = BodyLimit(take), asyncio.Event()
        scopes = [dict(SCOPE) for _ in range(MOST_LARGE_BODIES + 1)]
        first = [
            asyncio.create_task(limit(scope, sender(bytes(LARGE_BODY), b"x", then=release.wait), nowhere))
            for scope in scopes[:-1]
        ]
        await asyncio.sleep(0)
        with pytest.raises(HTTPException) as refused:
            await limit(scopes[-1], sender(bytes(LARGE_BODY)), nowhere)
        assert refused.value.status_code == 503 and refused.value.headers == {"Connection": "close"}
        small = {**SCOPE, "headers": [*SCOPE["headers"], (b"content-length", b"3")]}
        await limit(small, sender(b"abc"), nowhere)
        release.set()
        await asyncio.gather(*first)
        await limit(scopes[-1], sender(bytes(LARGE_BODY)), nowhere)  # now there is room
        return [*(scope["taken"] for scope in scopes), small["taken"]]

    *large, small = asyncio.run(arrive())
    assert small == [("picture", b"abc")]
    assert large == [*(MOST_LARGE_BODIES * [[("picture", bytes(LARGE_BODY) + b"x")]]), [("picture", bytes(LARGE_BODY))]]


def test_too_large_a_body_is_thrown_away_as_it_comes_and_at_last_no_longer_listened_to() -> None:
    for count, left in ((40, 0), (400, 400 - MOST_DRAINED // 2**20)):
        parts = [bytes(2**20)] * count

        async def receive(parts: list[bytes] = parts) -> Message:
            return {"type": "http.request", "body": parts.pop(), "more_body": bool(parts)}

        with pytest.raises(HTTPException) as refused:
            asyncio.run(BodyLimit(take)(dict(SCOPE), receive, nowhere))
        assert refused.value.status_code == 413
        assert refused.value.detail == f"the body is too large, must have {MOST_BYTES:,} bytes at most"
        assert len(parts) == left


@pytest.mark.parametrize("shape", [(2, 3), (2, 4, 3)])
def test_levels_keep_their_places(shape: tuple[int, ...]) -> None:
    levels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    scope = {**SCOPE, "headers": [(b"content-type", b"application/json")]}
    body = json.dumps({"images": [levels.tolist(), levels[:1].tolist()]}).encode()
    given = asyncio.run(pictures_in(Request(scope, sender(body))))
    assert [name for name, _ in given] == ["images[0]", "images[1]"]
    for (_, found), expected in zip(given, (levels, levels[:1]), strict=True):
        assert isinstance(found, np.ndarray) and found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)


def test_a_body_that_does_not_arrive_is_waited_for_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SECONDS_TO_SEND", 0.05)
    for kind in (b"image/png", b"application/json", b"multipart/form-data; boundary=x"):
        receive = sender(b"--x", b"", then=asyncio.Event().wait)
        with pytest.raises(HTTPException) as refused:
            asyncio.run(pictures_in(Request({**SCOPE, "headers": [(b"content-type", kind)]}, receive)))
        assert (refused.value.status_code, refused.value.headers) == (408, {"Connection": "close"})
