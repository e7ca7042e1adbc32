"""Records the journal's events in MLflow, while their stages run and after.

A stage starts it, with the log that handover.py describes; `softmax track` records what is left over.
"""

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from softmax_regression.base import project
from softmax_regression.base.errors import one_line
from softmax_regression.tracking import journal, runs
from softmax_regression.tracking.event import ALIVE, ENDED, Event
from softmax_regression.tracking.handover import ANSWERED, READY
from softmax_regression.tracking.locks import is_locked, try_lock
from softmax_regression.tracking.store import tracking_uri

SECONDS_BETWEEN_LOOKS = 0.02


def main(log: Path) -> None:
    """Record what the stages of one DVC do."""
    root = _prepare()
    print(READY, flush=True)
    serve(log.name.removeprefix("recorder-"), root)
    log.unlink(missing_ok=True)


def record_left_over() -> None:
    """Record whatever is left over."""
    record_finished(_prepare(), say=print)


def _prepare() -> Path:
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    root = project.root()
    _sweep(root)
    return root


def serve(key: str, root: Path) -> None:
    """Record the events of the stages of one DVC, whose process id is `key`, until it is over; or the one event `key`.

    While a stage trains, its run is brought up to date; what is finished, left from before too, has its turn after.
    """
    try:
        dvc = psutil.Process(int(key)) if key.isdigit() else None
    except psutil.NoSuchProcess:
        dvc = None
    shown: dict[Path, float] = {}
    while True:
        # Before the look: a stage that ends just now is then still seen.
        over = dvc is None or not dvc.is_running() or dvc.status() == psutil.STATUS_ZOMBIE
        working = [folder for folder in journal.events(root) if _is_own(folder, key) and _is_at_work(folder)]
        for folder in working:
            # Whatever fails now is tried again when the stage is done, and only then worth a warning.
            with contextlib.suppress(Exception):
                written = (folder / "event.json").stat().st_mtime
                if shown.get(folder) != written:
                    shown[folder] = written
                    _show(folder, root)
        if not working:
            record_finished(root, key)
            if over:
                return
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _show(folder: Path, root: Path) -> None:
    """Bring the run of a training at work up to date."""
    with _taken(folder) as event:
        if event and event.starts_run and event.status == "RUNNING":
            client = runs.connect(root)
            print(ANSWERED, flush=True)
            runs.record(client, event, root)


def record_finished(root: Path, key: str = "", say: Callable[[str], object] = lambda _: None) -> None:
    """Record the events of stages that are over, the oldest first, and remove them; `say` a line for each.

    An event is its own recorder's while its stage lives, and anybody's after. Exits with a reason at the first one that
    MLflow does not take: later ones may build on it.
    """
    client = None
    try:
        for folder in journal.events(root):
            if not _is_own(folder, key) and is_locked(folder / ALIVE):
                continue
            with _taken(folder) as event:
                if event is None or event.status == "RUNNING":
                    continue
                if client is None:
                    client = runs.connect(root)
                    if key:
                        print(ANSWERED, flush=True)
                run_id = runs.record(client, event, root)
                # Renamed first: a lock that another recorder opens in a folder half removed would come back to life.
                shutil.rmtree(folder.rename(folder.with_name(f"{journal.DRAFT}{folder.name}")))
                say(f"{event.stage} of run {event.run_name}, {event.status}: recorded in run {run_id}")
    except Exception as error:  # MLflow lets those of its database and network libraries through
        sys.exit(f"{tracking_uri(root)}: {one_line(error, 200)}")


@contextmanager
def _taken(folder: Path) -> Iterator[Event | None]:
    """The event in a folder, for this recorder alone; None where another has it, or has recorded it by now."""
    with contextlib.ExitStack() as stack:
        event = None
        with contextlib.suppress(FileNotFoundError):
            if try_lock(stack.enter_context((folder / "recording.lock").open("a"))):
                event = Event.read(folder)
        yield event


def _is_own(folder: Path, key: str) -> bool:
    return key in (folder.name, folder.name.split("-")[1])


def _is_at_work(folder: Path) -> bool:
    return is_locked(folder / ALIVE) and not (folder / ENDED).exists()


def _sweep(root: Path) -> None:
    """Remove what stages and recorders that were killed have left an hour ago: half an event, a log."""
    for left in [*(root / ".journal").glob(f"{journal.DRAFT}*"), *(root / ".journal").glob("recorder-*")]:
        with contextlib.suppress(FileNotFoundError):
            old = time.time() - left.stat().st_mtime > 3600
            if old and not is_locked(left / ALIVE if left.is_dir() else left):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
