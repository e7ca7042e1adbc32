"""What a stage did, written down first and recorded in MLflow after, so that no outage loses it.

Each run of a stage is an event: a folder under .journal at the project's root. A second process, tracking.py, records
it and removes the folder; while MLflow cannot be reached the folder stays, for `make track`. So the journal holds what
MLflow does not know yet, no stage imports MLflow, and none waits for it while there is work to do.
"""

import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from filelock import FileLock, Timeout

from softmax_regression import files, project

EXPERIMENT = "softmax-regression"
ALIVE = "alive.lock"
"""The file that a stage keeps locked while it lives."""
KEPT_WITH_EVERY_RUN = ("params.yaml", "dvc.lock", "requirements.lock")
SECONDS_BETWEEN_UPDATES = 10.0
"""How often a long stage brings its event up to date, for those who watch the run in MLflow."""
LONGEST_WAIT = 120.0
"""Seconds after which a recorder is stopped that has not ended by itself; a silent server it gives up much sooner."""


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
    model: dict[str, Any] | None = None
    """Where the event brings the model itself: its file's name, what it answers to, how well it did on which data."""
    written: float = 0.0
    """When the event's file was last brought up to date, on the monotonic clock."""

    def log(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Note figures of one step; those that are not finite are left out, since MLflow cannot draw them."""
        now = _now()
        self.metrics += [(name, value, now, step) for name, value in metrics.items() if math.isfinite(value)]
        if time.monotonic() - self.written > SECONDS_BETWEEN_UPDATES:
            self.write()

    def keep(self, path: Path, folder: str = "") -> None:
        """Copy a file for the run's artifacts."""
        with files.replacing(self.folder / "artifacts" / folder / path.name) as temporary:
            shutil.copy(path, temporary)

    def add_input(self, path: Path, dataset: str, source: Mapping[str, str], context: str) -> str:
        """Note a data set that went in, `context` being training or testing; return its digest, the MD5 DVC knows."""
        digest = files.md5(path)
        origin = {"url": next(iter(source)), "files": dict(source)}
        self.inputs.append({"name": dataset, "digest": digest, "source": json.dumps(origin), "context": context})
        self.tags[f"{context}_data.sha256"] = files.sha256(path)
        return digest

    def add_model(
        self, path: Path, example: np.ndarray, classes: int, dataset: str, tested_on: str, accuracy: float
    ) -> None:
        """Bring the model itself, for the registry.

        `example` is two images or more that it answers to; `accuracy` is on the test images of `dataset`, whose file's
        digest is `tested_on`.
        """
        folder = self.folder / "model"
        with files.replacing(folder / path.name) as temporary:
            shutil.copy(path, temporary)
        with files.replacing(folder / "example.npy") as temporary:
            np.save(temporary, example)
        size = example.shape[1:]
        self.model = {"file": path.name, "size": size, "classes": classes}
        self.model |= {"dataset": dataset, "data": tested_on, "accuracy": accuracy}

    def write(self) -> None:
        """Bring the event's file up to date."""
        values = {name: value for name, value in vars(self).items() if name not in ("folder", "written")}
        files.write_json(self.folder / "event.json", values)
        self.written = time.monotonic()

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The event in a folder. One that is RUNNING though nobody holds its lock has died, and reads as KILLED."""
        event = cls(folder, **json.loads((folder / "event.json").read_text(encoding="utf-8")))
        if event.status == "RUNNING":
            try:
                with FileLock(folder / ALIVE, timeout=0):
                    event.status = "KILLED"
            except Timeout:
                pass
        return event


@contextmanager
def recording(
    stage: str, model: Path | None = None, experiment: str = EXPERIMENT, run_name: str | None = None
) -> Iterator[Event]:
    """An event for what the block does; `model` is the file that a later stage works on.

    The block's end is the event's: FINISHED, FAILED where an error ended it, KILLED for Ctrl-C; a death without a word
    is noticed by the recorder. Where MLflow does not take the event, one warning says so; the block has succeeded.
    """
    folder = project.root() / ".journal" / f"{time.time_ns()}-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    event = Event(folder, stage, experiment, run_name or _run_name(), model is None, _now(), tags=_circumstances())
    event.model_sha256 = files.sha256(model) if model and model.is_file() else None
    for path in filter(Path.is_file, map(Path, KEPT_WITH_EVERY_RUN)):
        event.keep(path)
    # The system lets go of the lock when the process dies, however it dies.
    with FileLock(folder / ALIVE):
        event.write()
        recorder = subprocess.Popen(
            [sys.executable, "-m", "softmax_regression.tracking", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is for the stage; the recorder has yet to note that it was pressed
        )
        try:
            yield event
            event.status = "FINISHED"
        except BaseException as error:
            event.status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            event.tags["error"] = f"{type(error).__name__}: {error}"
            raise
        finally:
            event.ended = _now()
            event.write()
            _await(recorder, event)


@contextmanager
def unrecorded(stage: str) -> Iterator[Event]:
    """An event that MLflow never learns of, for workers beside the first, which records what all of them do."""
    with tempfile.TemporaryDirectory() as folder:
        yield Event(Path(folder), stage, EXPERIMENT, "", starts_run=False, started=_now())


def events(root: Path) -> list[Path]:
    """The folders of the events that MLflow does not know yet, the oldest first."""
    return sorted((root / ".journal").glob("*-*"))


def _await(recorder: subprocess.Popen[str], event: Event) -> None:
    """Let the recorder know that the stage is done, by the end of its input, and wait for it."""
    try:
        said, _ = recorder.communicate(timeout=LONGEST_WAIT)
    except subprocess.TimeoutExpired:
        recorder.kill()
        said, _ = recorder.communicate()
    if recorder.returncode:
        # Ended by a signal, it has not said why.
        reason = said.strip().splitlines()[-1] if recorder.returncode > 0 and said.strip() else "no answer in time"
        print(
            f"warning: {event.stage} of run {event.run_name} is not recorded in MLflow: {reason}. "
            "`make track` records it once MLflow can be reached",
            file=sys.stderr,
        )


def _run_name() -> str:
    return os.environ.get("DVC_EXP_NAME") or _git("rev-parse", "--short", "HEAD") or "no-commit"


def _circumstances() -> dict[str, str]:
    """What else a reader of the run will ask: which code, which experiment, which machine."""
    # Neither what the pipelines write makes the code another one, nor parameters, which the run has.
    written = (":!*params.yaml", ":!*dvc.lock", ":!metrics", ":!*.md", ":!*.png")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".", *written)
    tags = {
        "mlflow.source.git.commit": _git("rev-parse", "HEAD"),
        "git.dirty": "" if changed is None else str(bool(changed)).lower(),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME"),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
        "python": platform.python_version(),
        "machine": f"{platform.node()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    }
    return {name: value for name, value in tags.items() if value}


def _git(*arguments: str) -> str | None:
    """What a git command prints, or None outside a repository."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def _now() -> int:
    return int(time.time() * 1000)
