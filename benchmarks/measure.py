"""Measures the project beside what people would use instead; `make bench` runs it and writes results.* here."""

import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import growth
import numpy as np
import peers
import results
import scaling
import torch
from float32_step import float32_step
from sklearn.linear_model import LogisticRegression

from softmax_regression.data.images import ImageSet
from softmax_regression.model.arithmetic import hold_to_one_order
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.training import steps
from softmax_regression.training.loop import cost_and_accuracy, descend, train
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.state import TrainingState

ROOT = Path(__file__).parents[1]
BATCH, LR = 256, 0.1
GOAL = 0.925
QUICK = Recipe("scratch", 0.6, "linear", epochs=4, batch_size=256, momentum=0.9, weight_decay=0.0)
"""The lowest cost on the held-out images, in the mean of three seeds, among 30 settings of 3 or 4 epochs in batches of
128 to 384, of those that take less than 0.4 s."""
SEEDS = 10
STACK = 16
steps.STEPS["float32"] = float32_step


def main() -> None:
    """Measure everything and write the results."""
    warnings.simplefilter("ignore")  # scikit-learn's, of not having converged: that is the point
    training, test = (ImageSet.load(ROOT / f"data/{name}.safetensors") for name in ("train", "test"))
    hold_to_one_order()  # for `builtin`; the exact step is the same in any
    figures = {"threads": float(torch.get_num_threads())}
    parts = (epochs(training), reaching(training, test), prediction(), pipeline(), growth.growth(training))
    for part in (*parts, scaling.accuracy(training)):
        for name, value in part:
            figures[name] = value
            print(f"{name}: {value:.4g}", flush=True)
    results.write(figures, ROOT / "benchmarks")
    scaling.write(figures, ROOT / "docs/scaling.md")


def median_time(work: Callable[[], object], repetitions: int) -> float:
    """Seconds, the median after one run that does not count."""
    times = []
    for _ in range(repetitions + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def begin(images: ImageSet, recipe: Recipe, seed: int = 0, device: str = "cpu", stack: int = 1) -> TrainingState:
    """Starting weights on a device, and the generator that goes on with the order."""
    generator = torch.Generator().manual_seed(seed)
    model = SoftmaxRegression.random(images.model_shape, 0.01, generator).to(recipe.dtype).to(torch.device(device))
    return TrainingState.start(SoftmaxRegression.stack([model] * stack) if stack > 1 else model, generator)


def epochs(training: ImageSet) -> Iterator[tuple[str, float]]:
    """One epoch: the project's, shuffled, validation included; the peers', without validation."""
    held_in, validation = training.hold_out(0.1)
    pixels, labels = torch.from_numpy(held_in.pixels).float() / 255, torch.from_numpy(held_in.labels)
    recipe = Recipe("scratch", LR, "constant", epochs=99, batch_size=BATCH, momentum=0.9, weight_decay=0.0)
    builtin = replace(recipe, implementation="builtin")
    on_gpu = [(recipe, "epoch_cuda_s", "cuda")] * torch.cuda.is_available()
    for each, name, device in ((recipe, "epoch_s", "cpu"), (builtin, "epoch_builtin_s", "cpu"), *on_gpu):
        state = begin(held_in, each, device=device)
        yield name, median_time(partial(next, train(state, held_in, validation, each)), 9)
    # The steps without validation, in turns, as the machine is not equally fast all the time.
    float32 = replace(recipe, implementation="float32")
    turns = {"exact": (recipe, 1), "float32": (float32, 1), "builtin": (builtin, 1), "stack": (recipe, STACK)}
    descents = {
        name: descend(begin(held_in, each, stack=count), held_in, each) for name, (each, count) in turns.items()
    }
    times: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(8):
        for name, descent in descents.items():
            start = time.perf_counter()
            next(descent)
            times[name].append(time.perf_counter() - start)
    for name, seconds in times.items():
        yield f"steps_{name}_s", statistics.median(seconds[1:])
    peers_of_epoch = {
        "epoch_matmul": (lambda: peers.products_epoch(pixels, BATCH), 9),
        "epoch_autograd": (lambda: peers.autograd_epoch(pixels, labels, BATCH, LR), 5),
        "epoch_dataloader": (lambda: peers.dataloader_epoch(held_in.images, held_in.labels, BATCH, LR), 3),
    }
    # One thread last, which is what the rest is measured with. Two are what these loops take on two cores by default.
    for threads, mark in ((2, "_two_threads"), (1, "")):
        torch.set_num_threads(threads)
        for name, (work, repetitions) in peers_of_epoch.items():
            yield f"{name}{mark}_s", median_time(work, repetitions)


def reaching(training: ImageSet, test: ImageSet) -> Iterator[tuple[str, float]]:
    """From data in memory to the goal on the test images: ten seeds of the project, scikit-learn's settings."""
    times, accuracies = [], []
    for seed in range(SEEDS):
        start = time.perf_counter()
        state = begin(training, QUICK, seed)
        for _ in descend(state, training, QUICK):
            pass
        times.append(time.perf_counter() - start)
        accuracies.append(cost_and_accuracy(state.model, test)[1])
    yield "reach_925_s", statistics.median(times)
    if torch.cuda.is_available():

        def on_gpu() -> float:
            *_, cost = descend(begin(training, QUICK, device="cuda"), training, QUICK)
            return cost.item()

        yield "reach_925_cuda_s", median_time(on_gpu, 9)
    yield "reach_925_slowest_s", max(times)
    yield "reach_925_accuracy_median", statistics.median(accuracies)
    yield "reach_925_accuracy_smallest", min(accuracies)
    yield "reach_925_accuracy_largest", max(accuracies)
    yield "reach_925_seeds_there", sum(accuracy >= GOAL for accuracy in accuracies)

    features, test_features = (np.float32(images.pixels) / np.float32(255) for images in (training, test))
    best = np.inf
    for name, setting in peers.scikit_learn_settings():
        start = time.perf_counter()
        fitted = LogisticRegression(**setting).fit(features, training.labels)
        seconds, accuracy = time.perf_counter() - start, fitted.score(test_features, test.labels)
        print(f"  scikit-learn, {name}: {seconds:.1f} s, {accuracy:.4f}", flush=True)
        if accuracy >= GOAL:
            best = min(best, seconds)
    yield "reach_925_sklearn_s", best


def prediction() -> Iterator[tuple[str, float]]:
    """From the files to the probabilities of the 10,000 test images."""

    def predict() -> torch.Tensor:
        images = ImageSet.load(ROOT / "data/test.safetensors")
        model = SoftmaxRegression.load(ROOT / "models/softmax.safetensors")
        return model.log_probabilities(torch.from_numpy(images.pixels)).exp()

    yield "predict_10k_ms", 1000 * median_time(predict, 9)


def pipeline() -> Iterator[tuple[str, float]]:
    """Train, evaluate and visualize through DVC, the same in a single script, and what there is besides computing."""
    stages = ("train", "evaluate", "visualize")
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        run("git", "clone", "--quiet", str(ROOT), str(clone), folder=ROOT)
        (clone / ".venv").symlink_to(sys.prefix)
        shutil.copytree(ROOT / "data", clone / "data")
        dvc = (sys.executable, "-m", "dvc")
        run(*dvc, "commit", "--force", "download", folder=clone)
        run(*dvc, "repro", "features", folder=clone)
        repro = (*dvc, "repro", "--force", "--single-item", *stages)
        moments: list[dict[str, float]] = []
        yield "pipeline_s", median_time(lambda: moments.append(run(*repro, folder=clone)), 3)
        for stage, next_stage in zip(("start", *stages), (*stages, "end"), strict=True):
            spans = [moment[next_stage] - moment[stage] for moment in moments[1:]]
            yield f"pipeline_{stage}_s", statistics.median(spans)
        yield "pipeline_nothing_to_do_s", median_time(lambda: run(*dvc, "repro", folder=clone), 3)
        empty = Path(folder) / "empty"
        empty.mkdir()
        run("git", "init", "--quiet", folder=empty)
        run(*dvc, "init", "--quiet", folder=empty)
        (empty / "dvc.yaml").write_text("stages:\n  nothing:\n    cmd: 'true'\n")
        yield "pipeline_empty_s", median_time(lambda: run(*dvc, "repro", folder=empty), 3)
        script = f"import {', '.join(stages)}; {'; '.join(f'{stage}.main()' for stage in stages)}"
        yield "pipeline_script_s", median_time(lambda: run(sys.executable, "-c", script, folder=clone), 3)
        for name, code in (
            ("python_start_s", ""),
            ("import_torch_s", "import torch"),
            ("import_matplotlib_s", "import matplotlib.figure"),
            ("import_mlflow_s", "import mlflow"),
            ("import_recorder_s", "import softmax_regression.tracking.recorder"),
        ):
            yield name, median_time(partial(run, sys.executable, "-c", code, folder=clone), 3)


def run(*command: str, folder: Path) -> dict[str, float]:
    """Run a command, with the stages to import and nothing of an outer DVC; return when DVC said what it starts."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "OMP_"))}
    environment["PYTHONPATH"] = f"{folder / 'src'}{os.pathsep}{folder / 'stages'}"
    moments = {"start": time.monotonic()}
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if stage := re.match("Running stage '(.+)'", line):
                moments[stage[1]] = time.monotonic()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {**moments, "end": time.monotonic()}


if __name__ == "__main__":
    main()
