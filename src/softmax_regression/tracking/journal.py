"""What the stages did, written down first and recorded in MLflow after, so that no outage loses it.

Each run of a stage is an event: a folder under .journal at the project's root. A second process, recorder.py, records
it and removes the folder; while MLflow cannot be reached the folder stays, for `make track`. So the journal holds what
MLflow does not know yet, no stage imports MLflow, and none waits for it while there is work to do.
"""

import os
import platform
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from softmax_regression.base import files, project
from softmax_regression.base.running import STARTED_BY
from softmax_regression.tracking.event import ALIVE, Event, milliseconds
from softmax_regression.tracking.git import committed, git
from softmax_regression.tracking.handover import Handover
from softmax_regression.tracking.locks import locked
from softmax_regression.tracking.store import is_remote, tracking_uri

EXPERIMENT = "softmax-regression"
DRAFT = "new-"
KEPT_WITH_EVERY_RUN = ("params.yaml", "dvc.lock", "requirements.lock")


@contextmanager
def recording(
    stage: str,
    model: Path | None = None,
    experiment: str = EXPERIMENT,
    run_name: str | None = None,
    parameters: Mapping[str, object] | None = None,
) -> Iterator[Event]:
    """An event for what the block does; `model` is the file that a later stage works on.

    The parameters are in MLflow from the start, whatever becomes of the stage.

    The block's end is the event's: FINISHED, FAILED where an error ended it, KILLED for Ctrl-C; a death without a word
    is noticed by the recorder. Where MLflow does not take the event, one warning says so; the block has succeeded.
    Raises UserError where MLFLOW_TRACKING_URI is none that this project can use.
    """
    root, starter = project.root(), os.environ.get(STARTED_BY)
    tracking_uri(root)  # a wrong address is told before there is work to lose
    folder = root / ".journal" / f"{time.time_ns()}-{starter or 0}-{uuid.uuid4().hex[:8]}"
    # Under its own name only once it is whole and locked: whoever sees an event sees what it says and whether it lives.
    draft = folder.with_name(f"{DRAFT}{folder.name}")
    draft.mkdir(parents=True)
    event = Event(draft, stage, experiment, run_name or _run_name(parameters or {}), model is None, milliseconds())
    event.parameters, event.tags = dict(parameters or {}), _circumstances()
    event.model_sha256 = files.sha256(model) if model and model.is_file() else None
    for path in filter(Path.is_file, map(Path, KEPT_WITH_EVERY_RUN)):
        event.keep(path)
    with locked(draft / ALIVE):
        event.write()
        event.folder = draft.rename(folder)
        handover = Handover(starter, folder)
        handover.ensure()
        try:
            yield event
            event.status = "FINISHED"
        except BaseException as error:
            event.status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            event.tags["error"] = f"{type(error).__name__}: {error}"
            raise
        finally:
            event.ended = milliseconds()
            event.write()
            if reason := handover.wait(is_remote(root)):
                print(f"warning: {stage} of run {event.run_name} is not recorded in MLflow: {reason}", file=sys.stderr)


@contextmanager
def unrecorded(stage: str) -> Iterator[Event]:
    """An event that MLflow never learns of, for workers beside the first, which records what all of them do."""
    with tempfile.TemporaryDirectory() as folder:
        yield Event(Path(folder), stage, EXPERIMENT, "", starts_run=False, started=milliseconds())


def events(root: Path) -> list[Path]:
    """The folders of the events that MLflow does not know yet, the oldest first: `time-DVC's process id-number`."""
    return sorted((root / ".journal").glob("[0-9]*-*"))


def _run_name(parameters: Mapping[str, object]) -> str:
    """The experiment's name, or the commit and what is set otherwise than there: `5b3cf47 lr=0.2`."""
    if name := os.environ.get("DVC_EXP_NAME"):
        return name
    commit = git("rev-parse", "--short", "HEAD")
    before = committed("params.yaml") if commit and parameters else {}
    changed = [f"{name}={value}" for name, value in parameters.items() if commit and before.get(name) != value]
    return " ".join([commit or "no-commit", *changed])[:250]


def _circumstances() -> dict[str, str]:
    """What else a reader of the run will ask: which code, which experiment, which machine."""
    # Neither what the pipelines write makes the code another one, nor parameters, which the run has anyway.
    written = (":!*params.yaml", ":!*dvc.lock", ":!metrics", ":!*.md", ":!*.png")
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *written)
    tags = {
        "mlflow.source.git.commit": git("rev-parse", "HEAD"),
        "git.dirty": "" if changed is None else str(bool(changed)).lower(),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME"),
        "dvc.baseline": os.environ.get("DVC_EXP_BASELINE_REV"),
        "python": platform.python_version(),
        "machine": f"{platform.node()}, {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    }
    return {name: value for name, value in tags.items() if value}
