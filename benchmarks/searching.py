"""Searches 64 settings as the project does and as people would without it, in turns: docs/search.md.

Beside that, what an epoch costs in a stack, and a thousand settings of the digits. `make bench` runs it with the folder
`tests` on the path, whose clone.py makes a clone for it.
"""

import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import optuna_trials
import peers
import torch
import yaml
from clone import Clone
from tables import fill

from softmax_regression.data.images import ImageSet
from softmax_regression.model import exact
from softmax_regression.model.arithmetic import set_threads
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.search import stack
from softmax_regression.search.space import SearchSpace, Setting
from softmax_regression.training import loop
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.state import TrainingState

ROOT = Path(__file__).parents[1]
EPOCHS, BATCH, PROCESSES, TURNS = 10, 256, 2, 3
SPACE = {
    "lr": "{from: 0.01, to: 1, count: 8, scale: log}",
    "lr_schedule": "linear",
    "epochs": EPOCHS,
    "momentum": "[0, 0.5, 0.9, 0.95]",
    "weight_decay": "[0, 0.0001]",
    "seed": 0,
    "draw": "null",
    "rungs": "[]",
}
HALVING = SPACE | {"rungs": "[1, 3, 6]"}
SETTINGS, SHARE = 64, 8
"""How many SPACE has; and what part is tried where all of them would take minutes: one of eight."""
THOUSAND = SPACE | {"lr": "{from: 0.01, to: 3, scale: log}", "momentum": "{from: 0, to: 0.99}", "draw": 1000}


@dataclass
class Case:
    """A way to do something, and what came out in each turn."""

    name: str
    work: Callable[[], tuple[float, str]]
    """Returns seconds, and the best model's accuracy on the held-out images where there is one."""
    turns: int = TURNS
    seconds: list[float] = field(default_factory=list)
    accuracy: str = ""

    def take_turn(self) -> None:
        """Do it once more."""
        seconds, self.accuracy = self.work()
        self.seconds.append(seconds)
        print(f"{self.name}: {seconds:.4g} s, {self.accuracy}", flush=True)


def main() -> None:
    """Measure, and write the table into the page."""
    warnings.simplefilter("ignore")  # scikit-learn's, of not having converged: that is the point
    set_threads()
    training, validation = ImageSet.load(optuna_trials.DATA).hold_out(optuna_trials.VALIDATION)
    with tempfile.TemporaryDirectory() as folder:
        clone = prepared(Path(folder))
        optuna = partial(search_by_optuna, SearchSpace.read(clone.folder / "search/search.yaml").settings())
        scikit_learn = partial(search_by_scikit_learn, training, validation)
        halving = peers.HalvingGridSearchCV
        groups = [
            [
                Case("64 settings of MNIST, two processes", partial(search, clone)),
                Case("the same in one process", partial(search, clone, workers=1), turns=1),
                Case("Optuna, two processes, which train as `scratch`", partial(optuna, "scratch")),
                Case("Optuna, two processes, which train as `builtin`", partial(optuna, "builtin"), turns=1),
                Case("scikit-learn's `GridSearchCV`, two processes; 8 of 64", scikit_learn, turns=1),
                Case("DVC's queue, `--jobs 2`; 8 of 64", partial(search_by_queue, clone), turns=1),
            ],
            [
                Case("64 settings, `rungs: [1, 3, 6]`, two processes", partial(search, clone, HALVING)),
                Case("Optuna with `SuccessiveHalvingPruner`, `scratch`", partial(optuna, "scratch", "halving")),
                Case("scikit-learn's `HalvingGridSearchCV`", partial(scikit_learn, halving, share=1), turns=1),
            ],
            epochs(training, validation),
        ]
        for turn in range(TURNS):
            for case in (case for group in groups for case in group if turn < case.turns):
                case.take_turn()
        lines = [line for group in groups for line in compared(group)] + list(thousand(clone))
    fill(ROOT / "docs/search.md", ("", "seconds", "times the first", "accuracy"), lines)


def compared(group: Sequence[Case]) -> Iterator[list[str]]:
    """The medians, and how many times as long as the first each of them takes."""
    medians = [statistics.median(case.seconds) for case in group]
    for case, seconds in zip(group, medians, strict=True):
        three_digits = float(f"{seconds:.3g}")
        yield [case.name, f"{three_digits:,g}", f"{seconds / medians[0]:.2g}", case.accuracy]


def prepared(folder: Path) -> Clone:
    """A clone with the data, where MLflow's database is there from an earlier search."""
    clone = Clone(folder / "clone")
    clone.take_data()
    clone.run("dvc", "repro", "features")
    search(clone, SPACE | {"epochs": 1})
    return clone


def search(clone: Clone, space: Mapping[str, object] = SPACE, workers: int = PROCESSES) -> tuple[float, str]:
    """The whole command: DVC's start, and waiting until all is in MLflow, included."""
    clone.set_parameters(workers=workers)
    clone.set_parameters("search/search.yaml", **space)
    began = time.monotonic()
    clone.run("dvc", "repro", "--force", "--single-item", "search/dvc.yaml")
    seconds = time.monotonic() - began
    best = yaml.safe_load((clone.folder / "search/best.yaml").read_text())
    return seconds, f"{best['valid_accuracy']:.4f}"


def search_by_queue(clone: Clone) -> tuple[float, str]:
    """Experiments with all four stages: a few of them, and the rest at the pace that these had after the first two."""

    def done() -> int:
        return len(list((clone.folder / ".git/refs/exps").glob("??/*/*")))

    before, ended, began = done(), list[float](), time.monotonic()
    rates = ",".join(f"{rate:.4g}" for rate in np.geomspace(0.01, 1, SETTINGS // SHARE))
    clone.run("dvc", "exp", "run", "--queue", "-S", f"lr=choice({rates})", "-S", f"epochs={EPOCHS}")
    start = ("dvc", "queue", "start", "--jobs", str(PROCESSES))
    with subprocess.Popen(start, cwd=clone.folder, env=clone.environment, stdout=subprocess.PIPE) as queue:
        while len(ended) < SETTINGS // SHARE:
            with suppress(subprocess.TimeoutExpired):
                queue.communicate(timeout=0.1)  # the workers keep the pipe open until they have seen that nothing waits
                raise RuntimeError("an experiment has failed")
            ended += [time.monotonic() - began] * (done() - before - len(ended))
        queue.communicate()
    pace = (ended[-1] - ended[PROCESSES - 1]) / (len(ended) - PROCESSES)
    return ended[-1] + pace * (SETTINGS - len(ended)), ""


def search_by_optuna(settings: Sequence[Setting], implementation: str, pruner: str = "none") -> tuple[float, str]:
    """Two processes, their start included, each of which trains half of the settings."""
    with tempfile.TemporaryDirectory() as folder:
        journal, began = Path(folder, "journal.log"), time.monotonic()
        # Shuffled, as it compares with earlier trials alone: in the grid's order, where the cost falls, it stops none.
        order = np.random.default_rng(0).permutation(len(settings))
        study = optuna_trials.enqueue([settings[number] for number in order], journal)
        trials = (str(journal), str(len(settings) // PROCESSES), str(EPOCHS), implementation, pruner)
        processes = [subprocess.Popen((sys.executable, optuna_trials.__file__, *trials)) for _ in range(PROCESSES)]
        codes = [process.wait() for process in processes]
        if any(codes):
            raise RuntimeError("one of Optuna's processes has failed")
        return time.monotonic() - began, f"{study.best_trial.user_attrs['accuracy']:.4f}"


def search_by_scikit_learn(
    training: ImageSet, validation: ImageSet, kind: type = peers.GridSearchCV, share: int = SHARE
) -> tuple[float, str]:
    """From float32 pixels in memory on; one of `share` settings for all of them."""
    pixels = np.concatenate([training.pixels, validation.pixels]).astype(np.float32) / np.float32(255)
    labels = np.concatenate([training.labels, validation.labels])
    began = time.monotonic()
    found = peers.grid_search(kind, peers.STRENGTHS[::share], pixels, labels, len(validation))
    return (time.monotonic() - began) * share, f"{found.best_score_:.4f}"


def epochs(training: ImageSet, validation: ImageSet) -> list[Case]:
    """What an epoch takes a training alone, each of many in a stack, and each of them were there only the products."""
    recipe = Recipe(lr=0.1, lr_schedule="constant", epochs=99, batch_size=BATCH, momentum=0.9)
    setting = Setting(0.01, 0.1, "constant", 99, BATCH, 0.9, 0.0, 0)
    generator = torch.Generator().manual_seed(0)
    model = SoftmaxRegression.random(training.model_shape, setting.init_std, generator)
    alone = loop.train(TrainingState.start(model, generator), training, validation, recipe)

    def in_a_stack(count: int) -> Callable[[], object]:
        members = stack.Stack.start(range(count), [setting] * count, training.model_shape)
        return partial(next, stack.train(members, training, validation, setting.epochs))

    def products() -> None:
        for _ in range(len(training) // BATCH):
            exact.product(weight, images.T)
            exact.product(error, images)
        for _ in range(len(validation) // BATCH):
            exact.product(weight, images.T)

    def each(work: Callable[[], object], count: int) -> tuple[float, str]:
        began = time.monotonic()
        work()
        return (time.monotonic() - began) / count, ""

    classes, width = training.model_shape
    images = torch.from_numpy(training.pixels[:BATCH]).double()
    weight, error = (torch.rand(SETTINGS * classes, size, dtype=torch.float64) for size in (width, BATCH))
    return [
        Case("an epoch, trained alone", partial(each, partial(next, alone), 1)),
        Case("an epoch of each of 32 in a stack", partial(each, in_a_stack(32), 32)),
        Case("an epoch of each of 64 in a stack", partial(each, in_a_stack(64), 64)),
        Case("the matrix products of that alone", partial(each, products, SETTINGS)),
    ]


def thousand(clone: Clone) -> Iterator[list[str]]:
    """A thousand settings of the digits, and which part of the command takes how long."""
    clone.set_parameters(dataset="digits")
    clone.run("dvc", "repro", "features")
    began = time.time()
    seconds, accuracy = search(clone, THOUSAND)
    with closing(sqlite3.connect(clone.folder / "mlflow.db")) as database:
        started, ended = database.execute(
            "SELECT max(start_time) / 1000.0, max(end_time) / 1000.0 FROM runs"
        ).fetchone()
    trained, recorded = ((clone.folder / name).stat().st_mtime for name in ("search/results.csv", "mlflow.db"))
    yield ["1,000 settings of the digits, two processes", f"{seconds:.1f}", "", accuracy]
    moments = {
        "until the stage begins": began,
        "training": started,
        "ranking and pictures": trained,
        "recording what is not recorded by then": ended,
        "DVC's end": recorded,
    }
    for (part, start), end in zip(moments.items(), [*list(moments.values())[1:], began + seconds], strict=True):
        yield [f"of which: {part}", f"{end - start:.1f}", "", ""]


if __name__ == "__main__":
    main()
