"""What one run of a stage came to, as the stage writes it down and the recorder reads it."""

import dataclasses
import itertools
import json
import math
import posixpath
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from softmax_regression.base import files
from softmax_regression.tracking.locks import is_locked

ALIVE = "alive.lock"
"""The file that a stage keeps locked while it lives."""
ENDED = "ended"
"""The file that says that its work is done, while it waits for the recorder."""
CHILDREN = "children"
"""The folder in an event's folder with its children, in files numbered from 0 on."""
CHILDREN_A_FILE = 100
"""They are recorded file by file: so many in one transaction, or between two signs that a server still answers."""
LONGEST_METRIC_NAME = 200
"""Letters of a class's name, of the 250 that MLflow allows."""
SECONDS_BETWEEN_UPDATES = 10.0
"""How often a long stage brings its event up to date, for those who watch the run in MLflow."""


@dataclass(frozen=True)
class EventModel:
    """The model that an event brings, for the registry; its file lies in the event's folder `model`."""

    file: str
    classes: int
    dataset: str
    held_out: str
    """Which images were held out, and of what training data: models compare on the same ones alone."""
    valid_cost: float
    """Mean cost of the held-out images in nats; that of each is among the event's artifacts."""


@dataclass(frozen=True)
class Child:
    """One of many trainings within an event, complete: a run of its own in MLflow, below the event's."""

    name: str
    parameters: Mapping[str, Any]
    metrics: Sequence[tuple[str, float, int]] = ()
    """Name, value and step; none where it diverged at once."""
    tags: Mapping[str, str] = field(default_factory=dict)
    model_sha256: str = ""
    """Of its model, where it has one."""
    status: str = "FINISHED"
    """Or FAILED, as MLflow names them."""


@dataclass
class Event:
    """One run of a stage, and what of it belongs into MLflow. Times are in milliseconds since 1970."""

    folder: Path
    stage: str
    experiment: str
    run_name: str
    starts_run: bool
    """Whether the stage trains a model, and thereby starts a run; others add to the run that trained theirs."""
    started: int
    ended: int | None = None
    status: str = "RUNNING"
    """RUNNING, FINISHED, FAILED or KILLED, as MLflow names them."""
    model_sha256: str | None = None
    """Which model the event is about: what the stages of one run have in common."""
    parameters: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    """Name, value, time and step. MLflow takes an equal entry only once, so recording twice doubles nothing."""
    inputs: list[dict[str, str]] = field(default_factory=list)
    """Data sets that went in: name, digest, source, context."""
    model: EventModel | None = None
    written: float = 0.0
    """When the event's file was last brought up to date, on the monotonic clock."""

    def log(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Note figures of one step; those that are not finite are left out, since MLflow cannot draw them."""
        now = milliseconds()
        self.metrics += [(name, value, now, step) for name, value in metrics.items() if math.isfinite(value)]
        if time.monotonic() - self.written > SECONDS_BETWEEN_UPDATES:
            self.write()

    def keep(self, path: Path, folder: str = "artifacts") -> None:
        """Copy a file for the run's artifacts."""
        with files.replacing(self.folder / folder / path.name) as temporary:
            shutil.copy(path, temporary)

    def add_input(self, path: Path, dataset: str, source: Mapping[str, str], context: str) -> str:
        """Note a data set that went in, `context` being training or testing; return its digest, the MD5 DVC knows."""
        digest = files.md5(path)
        origin = {"url": next(iter(source)), "files": dict(source)}
        self.inputs.append({"name": dataset, "digest": digest, "source": json.dumps(origin), "context": context})
        self.tags[f"{context}_data.sha256"] = files.sha256(path)
        return digest

    def add_model(
        self, path: Path, example: np.ndarray, classes: int, dataset: str, held_out: str, valid_cost: float
    ) -> None:
        """Bring the model itself, for the registry; `example` is two images or more that it answers to."""
        self.keep(path, "model")
        with files.replacing(self.folder / "model/example.npy") as temporary:
            np.save(temporary, example)
        self.model = EventModel(path.name, classes, dataset, held_out, valid_cost)

    def add_children(self, children: Sequence[Child]) -> None:
        """Have children recorded, from now on; each file of them is whole or not there."""
        folder, ended = self.folder / CHILDREN, milliseconds()
        before = len(list(folder.glob("*.json")))
        for number, start in enumerate(range(0, len(children), CHILDREN_A_FILE), before):
            part = [vars(child) for child in children[start : start + CHILDREN_A_FILE]]
            files.write_text(folder / f"{number:06}.json", json.dumps({"ended": ended, "children": part}))
        self.write()  # which the recorder notices

    def write(self) -> None:
        """Bring the event's file up to date."""
        values = {name: value for name, value in vars(self).items() if name not in ("folder", "written", "model")}
        values["model"] = dataclasses.asdict(self.model) if self.model else None
        files.write_json(self.folder / "event.json", values)
        self.written = time.monotonic()
        if self.ended:
            (self.folder / ENDED).touch()

    def recorded(self, what: str, store: str) -> int:
        """How many of its metrics, or files of children, a store has: what was last noted of it."""
        try:
            count, _, noted = memory(self.folder, what).read_text().partition(" ")
        except FileNotFoundError:
            return 0
        return int(count) if noted == store else 0

    def note_recorded(self, what: str, store: str, count: int) -> None:
        """Note for `recorded` how many the store has."""
        memory(self.folder, what).write_text(f"{count} {store}")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The event in a folder. One that is RUNNING though its stage is dead reads as KILLED."""
        values = json.loads((folder / "event.json").read_text(encoding="utf-8"))
        event = cls(folder, **values | {"model": EventModel(**values["model"]) if values["model"] else None})
        if event.status == "RUNNING" and not is_locked(folder / ALIVE):
            event.status = "KILLED"
        return event


def memory(folder: Path, what: str) -> Path:
    """The file in an event's folder that remembers how many of its metrics, or files of children, are recorded."""
    return folder / f"recorded-{what}"


def milliseconds() -> int:
    """Now, since 1970."""
    return time.time_ns() // 1_000_000


def metric_names(classes: Sequence[str]) -> list[str]:
    """The names of classes as MLflow takes them in a metric's name, no two alike.

    Letters, digits and "_-. :/" stay, and there must be no path such as "a//b" or "..".
    """
    names: list[str] = []
    for each in classes:
        name = re.sub(r"[^/\w.\- :]", "_", each)[:LONGEST_METRIC_NAME]
        if posixpath.normpath(f"x/{name}") != f"x/{name}":
            name = re.sub(r"[/.]", "_", name)
        numbered = (f"{name} {number}" for number in itertools.count(len(names)))
        names.append(next(other for other in itertools.chain([name], numbered) if other not in names))
    return names
