"""Records the journal's events in MLflow, while their stages run and after.

Started by a stage, with the log that handover.py describes; without one, as `make track`, for whatever is left.
"""

import contextlib
import functools
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from softmax_regression.base import project
from softmax_regression.base.errors import one_line
from softmax_regression.tracking import journal, runs
from softmax_regression.tracking.event import ALIVE, Event
from softmax_regression.tracking.handover import ANSWERED, READY
from softmax_regression.tracking.locks import is_locked, lock
from softmax_regression.tracking.store import tracking_uri

SECONDS_BETWEEN_LOOKS = 0.02


def main() -> None:
    """Record what one DVC's stages do, or all that is left over."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    root = project.root()
    if len(sys.argv) > 1:
        print(f"{READY}{os.getpid()}", flush=True)
        log = Path(sys.argv[1])
        serve(log.name.removeprefix("recorder-"), root)
        log.unlink(missing_ok=True)
    else:
        record_finished(root, say=print)


def serve(key: str, root: Path) -> None:
    """Record the events of the stages of one DVC, whose process id is `key`, until it is over; or the one event `key`.

    While a stage trains, its run is brought up to date; what is finished, left from before too, has its turn after.
    """
    dvc = psutil.Process(int(key)) if key.isdigit() and psutil.pid_exists(int(key)) else None
    shown = None
    while True:
        # Before the look: a stage that ends just now is then still seen.
        over = dvc is None or not dvc.is_running()
        working = [event for folder in journal.events(root) if _is_own(folder, key) and (event := _at_work(folder))]
        for event in working:
            if event.starts_run and event is not shown:
                # Whatever fails now is tried again when the stage is done, and only then worth a warning.
                with contextlib.suppress(Exception):
                    runs.record(runs.connect(root), event, root)
                    print(ANSWERED, flush=True)
                shown = event
        if not working:
            record_finished(root, key)
            if over:
                return
        time.sleep(SECONDS_BETWEEN_LOOKS)


def record_finished(root: Path, key: str = "", say: Callable[[str], object] = str) -> None:
    """Record the events of stages that are over, the oldest first, and remove them; `say` a line for each.

    An event is its own recorder's while its stage lives, and anybody's after. Exits with a reason at the first one that
    MLflow does not take: later ones may build on it.
    """
    folders = [each for each in journal.events(root) if _is_own(each, key) or not is_locked(each / ALIVE)]
    if not (folders := [folder for folder in folders if _has_word(folder)]):
        return
    try:
        client = runs.connect(root)
        if key:
            print(ANSWERED, flush=True)
        for folder in folders:
            # Another process may have recorded it by now.
            with contextlib.suppress(FileNotFoundError), (folder / "recording.lock").open("a") as file:
                if lock(file) and (event := Event.read(folder)).status != "RUNNING":
                    run_id = runs.record(client, event, root)
                    shutil.rmtree(folder)
                    say(f"{event.stage} of run {event.run_name}, {event.status}: recorded in run {run_id}")
    except Exception as error:  # MLflow lets those of its database and network libraries through
        sys.exit(f"{tracking_uri(root)}: {one_line(error, 200)}")


def _is_own(folder: Path, key: str) -> bool:
    return key in (folder.name, folder.name.split("-")[1])


def _at_work(folder: Path) -> Event | None:
    """The event in a folder if its stage is at work; the same one until the stage writes it anew."""
    with contextlib.suppress(FileNotFoundError):
        if is_locked(folder / ALIVE):
            event = _read(folder, (folder / "event.json").stat().st_mtime_ns)
            return event if event.status == "RUNNING" else None
    return None


@functools.lru_cache(maxsize=8)
def _read(folder: Path, written: int) -> Event:  # noqa: ARG001
    return Event.read(folder)


def _has_word(folder: Path) -> bool:
    """Whether there is an event in a folder; a stage that has not written one within a minute has died before."""
    there = (folder / "event.json").exists()
    if not there and time.time_ns() - int(folder.name.split("-")[0]) > 60e9:
        shutil.rmtree(folder, ignore_errors=True)
    return there


if __name__ == "__main__":
    main()
