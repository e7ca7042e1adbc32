"""Sixty thousand, six hundred thousand and six million images, read by one worker and by two."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from softmax_regression.base.files import write_json
from softmax_regression.data.images import ImageSet
from softmax_regression.model.arithmetic import set_threads
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.training import workers
from softmax_regression.training.loop import descend
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.state import TrainingState

BATCHES = (256, 2048, 16384, 65536, 262144)
REPETITIONS = 3
EXCHANGES = 2000


def growth(training: ImageSet) -> Iterator[tuple[str, float]]:
    """Seconds of an epoch, memory that is no file's, and both with two workers on the largest set."""
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.safetensors"
        for copies, name in ((1, "60k"), (10, "600k"), (100, "6m")):
            shifted(training, copies).save(path)
            case = measured(path, 256, count=1)
            seconds[name] = case["epoch_s"] / (copies * len(training))
            yield f"epoch_{name}_s", case["epoch_s"]
            yield f"rss_{name}_mib", case["rss_mib"]
        yield "growth_600k", seconds["600k"] / seconds["60k"]
        yield "growth_6m", seconds["6m"] / seconds["60k"]
        for batch_size in BATCHES:
            alone, together = (measured(path, batch_size, count) for count in (1, 2))
            yield f"workers_1_epoch_{batch_size}_s", alone["epoch_s"]
            yield f"workers_2_epoch_{batch_size}_s", together["epoch_s"]
            yield f"workers_2_speedup_{batch_size}", alone["epoch_s"] / together["epoch_s"]
        yield "workers_2_rss_mib", together["rss_mib"]
        yield "workers_2_sum_us", together["sum_us"]


def shifted(images: ImageSet, copies: int) -> ImageSet:
    """`copies` times the images, each copy shifted at random by up to two pixels."""
    generator = np.random.default_rng(0)
    grown = np.empty((copies * len(images), *images.images.shape[1:]), np.uint8)
    for copy in range(copies):
        down, right = generator.integers(-2, 3, 2) if copy else (0, 0)
        grown[copy * len(images) : (copy + 1) * len(images)] = np.roll(images.images, (down, right), (1, 2))
    return replace(images, images=grown, labels=np.tile(images.labels, copies))


def measured(path: Path, batch_size: int, count: int) -> dict[str, float]:
    """One case in `count` processes of their own."""
    result = path.with_name("result.json")
    case = {"IMAGES": str(path), "BATCH_SIZE": str(batch_size), "COUNT": str(count), "RESULT": str(result)}
    subprocess.run([sys.executable, __file__], env={**os.environ, **case}, check=True)
    found: dict[str, float] = json.loads(result.read_text())
    return found


def main() -> None:
    """Measure one case, which the environment describes."""
    set_threads()
    if int(os.environ["COUNT"]) > 1 and not workers.started_by_torchrun():
        workers.launch(int(os.environ["COUNT"]), Path(__file__))
        return
    with workers.join(torch.device("cpu"), int(os.environ["COUNT"])) as share:
        most, done = 0.0, threading.Event()

        def watch() -> None:
            nonlocal most
            while not done.wait(0.1):
                status = Path("/proc/self/status").read_text()
                most = max(most, int(status.split("RssAnon:")[1].split()[0]) / 1024)

        images = ImageSet.load(Path(os.environ["IMAGES"]))
        generator = torch.Generator().manual_seed(0)
        model = SoftmaxRegression.random(images.model_shape, 0.01, generator)
        recipe = Recipe("scratch", 0.1, "constant", REPETITIONS + 1, int(os.environ["BATCH_SIZE"]), 0.9, 0.0)
        threading.Thread(target=watch, daemon=True).start()
        epochs = descend(TrainingState.start(model, generator), images, recipe, share)
        times = [_timed(lambda: next(epochs)) for _ in range(REPETITIONS + 1)]
        done.set()
        gradient = [torch.zeros_like(model.weight), torch.zeros_like(model.bias)]
        exchanges = [_timed(lambda: share.sum(gradient)) for _ in range(EXCHANGES)]
        found = {"epoch_s": statistics.median(times[1:]), "rss_mib": most, "sum_us": 1e6 * statistics.median(exchanges)}
        if share.is_first:
            write_json(Path(os.environ["RESULT"]), found)


def _timed(work: object) -> float:
    start = time.perf_counter()
    work()  # type: ignore[operator]
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
