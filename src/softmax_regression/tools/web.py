"""The model behind HTTP: pictures in, answers out, and the page to draw on."""

import asyncio
import errno
import functools
import gc
import math
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import anyio
import numpy as np
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from uvicorn.supervisors import Multiprocess

from softmax_regression.base.errors import UserError, one_line
from softmax_regression.base.running import end_without
from softmax_regression.data import weights
from softmax_regression.data.weights import VERSION
from softmax_regression.drawing import page
from softmax_regression.pictures import reading
from softmax_regression.pictures.reading import MOST_BYTES, MOST_PIXELS, Picture
from softmax_regression.prediction.classifier import Answer, Classifier
from softmax_regression.results.evaluation import UNSURE
from softmax_regression.tools import models
from softmax_regression.tools.bodies import BODY, SECONDS_TO_SEND, BodyLimit, pictures_in
from softmax_regression.tools.models import Source

SECONDS_BETWEEN_LOOKS = 2.0
"""At whether there is another model."""
FEW_PIXELS = 250_000
"""Up to which a request is answered at once: handing it to a thread takes as long again as answering a small one."""
MOST_AT_WORK = 1
"""Larger ones worked on at once by each process: a picture of 50 megapixels takes up to 1.1 GB while it is decoded."""


class PreparedModel(BaseModel):
    """What was done to a picture, and what was taken of it: left, top, right, bottom."""

    done: list[str]
    box: list[int]


class PredictionModel(BaseModel):
    """What a picture shows."""

    file: str
    class_: str = Field(alias="class")
    probability: float
    unsure: bool
    probabilities: dict[str, float]
    prepared: PreparedModel


class PredictionsModel(BaseModel):
    """An answer for each picture, in their order."""

    predictions: list[PredictionModel]


class HealthModel(BaseModel):
    """That the server answers, by which model, and where that came from."""

    status: str
    source: str
    version: str
    model: dict[str, Any]


class RefusalModel(BaseModel):
    """Why there is no answer, in one sentence."""

    detail: str


QUIET: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
"""OpenTelemetry, which nobody reads here; asking for it takes a tenth of a request."""
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": RefusalModel, "description": "The form cannot be read"},
    408: {"model": RefusalModel, "description": f"The body did not arrive within {SECONDS_TO_SEND:.0f} s"},
    413: {"model": RefusalModel, "description": f"The body has more than {MOST_BYTES:,} bytes"},
    415: {"model": RefusalModel, "description": "The body is neither pictures nor JSON"},
    503: {"model": RefusalModel, "description": "Too many large bodies arrive at once"},
    422: {"model": RefusalModel, "description": "No picture, a damaged one, or nothing drawn on it"},
}


@dataclass
class Served:
    """The model that answers, until its source has another one."""

    version: str
    classifier: Classifier
    page: str

    @classmethod
    def load(cls, source: Source) -> Self:
        """Read the model that is there; raises UserError where it is none."""
        version, classifier = source.version(), source.load()
        return cls(version, classifier, page.render(classifier.weight, classifier.bias, classifier.origin, UNSURE))

    @classmethod
    def load_or_kept(cls, source: Source, kept: Path) -> Self:
        """Likewise; where it cannot be read, the last one that could, of which `kept` is a copy."""
        try:
            return cls.load(source)
        except UserError:
            return replace(cls.load(models.in_file(kept)), version="kept")

    def keep(self, kept: Path) -> None:
        """Copy the model, for a process that begins when there is a broken one."""
        weight, bias = (array.astype(np.float32) for array in (self.classifier.weight, self.classifier.bias))
        weights.write(kept, weight, bias, self.classifier.origin)


class Metrics:
    """What is counted, for Prometheus."""

    def __init__(self) -> None:
        self.answers = Counter("softmax_predictions", "Pictures by the class they show", ["class_name"])
        self.refusals = Counter("softmax_refusals", "Requests by status", ["status"])
        self.models = Counter("softmax_models", "Models found at the source", ["outcome"])
        self.seconds = Histogram("softmax_seconds", "From a request to its answer")

    def tell(self) -> bytes:
        """The counts of all processes together, which PROMETHEUS_MULTIPROC_DIR holds, in Prometheus' format."""
        together = CollectorRegistry()
        MultiProcessCollector(together)
        return generate_latest(together)


class Route(APIRoute):
    """Calls its function with the request and nothing else, which takes half of FastAPI's usual time."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The function itself."""
        return self.endpoint


def create(source: Source, kept: Path) -> FastAPI:
    """The application; `kept` is a copy of the last model that could be read. Raises UserError where there is none."""
    served, metrics = Served.load_or_kept(source, kept), Metrics()
    metrics.models.labels("taken").inc()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watcher = asyncio.create_task(_follow(source, kept, served, metrics))
        yield
        watcher.cancel()

    app = FastAPI(title="Softmax regression", version=VERSION, lifespan=lifespan, redoc_url=None, telemetry=QUIET)
    app.add_middleware(BodyLimit)
    app.router.route_class = Route
    at_work = asyncio.Semaphore(MOST_AT_WORK)

    @app.exception_handler(HTTPException)
    async def refuse(_: Request, error: HTTPException) -> JSONResponse:
        metrics.refusals.labels(str(error.status_code)).inc()
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=400)  # whom nobody receives

    @app.post("/predict", responses={200: {"model": PredictionsModel}, **REFUSALS}, openapi_extra=BODY)
    async def predict(request: Request) -> Response:
        """What pictures show: the bytes of one, a form with several `files`, or JSON with `images` as levels."""
        with metrics.seconds.time():
            given = await pictures_in(request)
            pixels = sum(
                reading.count_pixels(each) if isinstance(each, bytes) else math.prod(each.shape[:2])
                for _, each in given
            )
            if pixels > MOST_PIXELS:
                raise HTTPException(422, f"{pixels:,} pixels in all, must be {MOST_PIXELS:,} at most")
            if pixels <= FEW_PIXELS:
                answers = _answer_all(served.classifier, given)
            else:
                async with at_work:
                    answers = await anyio.to_thread.run_sync(_answer_all, served.classifier, given)
        told = [{"file": name, **answer.as_json()} for (name, _), answer in zip(given, answers, strict=True)]
        for answer in told:
            metrics.answers.labels(answer["class"]).inc()
        return Response(to_json({"predictions": told}), media_type="application/json")

    @app.get("/", response_class=HTMLResponse)
    async def draw(_: Request) -> HTMLResponse:
        """The page to draw on, with the present model in it."""
        return HTMLResponse(served.page)

    @app.get("/health", responses={200: {"model": HealthModel}})
    async def health(_: Request) -> JSONResponse:
        """That the server answers, and by which model."""
        origin = replace(served.classifier.origin, standardisation=None).description
        return JSONResponse({"status": "ok", "source": source.name, "version": served.version, "model": origin})

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def tell_metrics(_: Request) -> Response:
        """What has been counted, in Prometheus' format."""
        return Response(metrics.tell(), media_type=CONTENT_TYPE_LATEST)

    return app


async def _follow(source: Source, kept: Path, served: Served, metrics: Metrics) -> None:
    """Take over each new model; one that cannot be read is refused, and the present one stays."""
    complaint = ""
    while True:
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        try:
            if await anyio.to_thread.run_sync(source.version) == served.version:
                continue
            found = await anyio.to_thread.run_sync(Served.load, source)
            found.keep(kept)
        except Exception as error:  # whatever is wrong there, the present model goes on answering
            if complaint != (complaint := one_line(error)):  # told once, and tried again each time
                metrics.models.labels("refused").inc()
                _say(f"the present model stays: {complaint}")
            continue
        served.version, served.classifier, served.page = found.version, found.classifier, found.page
        complaint = ""
        metrics.models.labels("taken").inc()
        _say(f"{source.name}: another model, version {served.version}, has taken over")


def _answer_all(classifier: Classifier, given: Sequence[tuple[str, bytes | np.ndarray]]) -> list[Answer]:
    """The answer for each picture; raises HTTPException that names the one for which there is none."""
    answers = []
    for name, content in given:
        try:
            answers.append(classifier.answer(_read(content, classifier.in_colour)))
        except UserError as error:
            raise HTTPException(422, f"{name}: {error}") from None
    return answers


def _read(content: bytes | np.ndarray, in_colour: bool) -> Picture:
    """A picture as a model needs it; raises UserError where it is none, or levels in colour that would lose it."""
    if isinstance(content, bytes):
        return reading.read(content, in_colour)
    if content.ndim == 3 and not in_colour:
        raise UserError("is in colour, and the model knows grey levels: send each pixel as one number")
    return Picture(reading.to_colours(content, in_colour))


def serve(model: str | None, host: str, port: int, processes: int) -> None:
    """Serve the model that `models.find` knows by a name, until Ctrl-C, from so many processes.

    Raises UserError where there is no model, or the address is taken.
    """
    first = Served.load(models.find(model))  # what is wrong with it is told here, once, instead of by each process
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        instead = f"; another one: softmax serve --port {port + 1}" if error.errno == errno.EADDRINUSE else ""
        raise UserError(f"{host}:{port}: {reason}{instead}") from None
    # Of a socket that is given, asyncio does not see that it is TCP; without this each answer waits for 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}"
    _say(f"Draw at {address}/, or send pictures to {address}/predict. Ctrl-C ends it.")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # where the processes count together
        kept = Path(folder) / "kept.safetensors"
        first.keep(kept)
        config = uvicorn.Config(
            functools.partial(create_named, model, kept),
            factory=True,
            workers=processes,
            log_level="error",
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        Multiprocess(config, [listening]).run()


def create_named(model: str | None, kept: Path) -> FastAPI:
    """The application in a process of its own, which ends with the one that started it."""
    end_without(os.getppid())
    app = create(models.find(model), kept)
    gc.collect()
    gc.freeze()  # what is loaded stays; looking it through for garbage again and again takes a tenth of the time
    return app


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
