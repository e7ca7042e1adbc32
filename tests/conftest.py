"""What several test files need."""

import contextlib
import resource
import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clone import ROOT, Clone
from hypothesis import HealthCheck, settings
from PIL import Image

from softmax_regression.data.images import ImageSet, Preparation
from softmax_regression.data.weights import Origin, write
from softmax_regression.pictures.preparation import prepare
from softmax_regression.prediction.classifier import Classifier
from softmax_regression.sources import datasets
from softmax_regression.sources.datasets import PREPARATIONS, bundled_digits
from softmax_regression.training.loop import fit
from softmax_regression.training.recipe import Recipe

# The same inputs each time, and no timing, as the machine may be busy. Others, and more of them, with their counts:
# pytest --hypothesis-profile=thorough --hypothesis-show-statistics
HEALTHY = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("quick", deadline=None, suppress_health_check=HEALTHY, max_examples=300, derandomize=True)
settings.register_profile("thorough", deadline=None, suppress_health_check=HEALTHY, max_examples=5_000)
settings.load_profile("quick")


@pytest.fixture
def small() -> ImageSet:
    """23 images of 3×2 pixels in three classes."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (23, 3, 2), dtype=np.uint8)
    return ImageSet(images, generator.integers(0, 3, 23), ("red", "green", "blue"), "small", {"made-up": "sha256:0"})


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows the bundled digits, enlarged and prepared as MNIST's are; its name is hostile to a page."""
    train, _ = bundled_digits()
    how = PREPARATIONS["mnist"]
    large = [np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BICUBIC)) for image in train.images]
    images = np.stack([prepare(np.pad(image, 32), (28, 28), how).image for image in large])
    known = ImageSet(images, train.labels, train.classes, "digits </script>", train.source, how)
    path = tmp_path_factory.mktemp("model") / "softmax.safetensors"
    fit(known, Recipe(lr=0.5)).save(path, Origin.of(known, "0" * 32))
    return path


@pytest.fixture(scope="session")
def classifier(model_file: Path) -> Classifier:
    return Classifier.load(model_file)


@pytest.fixture(scope="session", params=[(12, 16, 3), (12, 16)], ids=["in colour", "in grey"])
def picture_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of pictures, no two weights alike; where they are in colour, each class is rather of one."""
    size = request.param
    weight = np.random.default_rng(0).normal(0, 0.01, (3, *size))
    if len(size) == 3:
        weight += 0.02 * np.eye(3)[:, None, None]
    path = tmp_path_factory.mktemp("pictures") / "softmax.safetensors"
    origin = Origin("own/my photos.zip", ("red", "green", "blue"), size, Preparation(), "0" * 32)
    write(path, weight.reshape(3, -1).astype(np.float32), np.zeros(3, np.float32), origin)
    return path


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file can grow beyond 4 KiB, as on a disk that is nearly full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class Handler(SimpleHTTPRequestHandler):
    """Serves files; what lies in the folder broken-off never arrives whole, and what lies in endless never ends."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        outputfile.write(content[:-1] if self.path.startswith("/broken-off/") else content)
        with contextlib.suppress(ConnectionError):
            while self.path.startswith("/endless/"):
                outputfile.write(bytes(100_000))

    def send_header(self, keyword: str, value: str) -> None:
        if not (keyword == "Content-Length" and self.path.startswith("/endless/")):
            super().send_header(keyword, value)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an HTTP server whose folders are those of tmp_path, so that each of them is a mirror."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))) as http:
        threading.Thread(target=http.serve_forever, args=[0.01]).start()
        yield f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address that refuses connections."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as bound:  # it never listens, and meanwhile nobody else can
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/"


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An address that accepts connections and never answers."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(datasets, "TIMEOUT", (10, 0.1))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone that has committed a quick result, by the first commands of docs/experiments.md; to be copied."""
    clone = Clone(tmp_path_factory.mktemp("trained") / "clone")
    page = (ROOT / "docs/experiments.md").read_text()
    clone.run("bash", "-e", "-c", page.split("```sh\n")[1].split("```")[0])
    return clone
