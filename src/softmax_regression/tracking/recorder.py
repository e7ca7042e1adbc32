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

from softmax_regression.base import project
from softmax_regression.base.errors import one_line
from softmax_regression.base.running import lives
from softmax_regression.tracking import journal, runs
from softmax_regression.tracking.event import ALIVE, ENDED, Event
from softmax_regression.tracking.handover import READY, REASON, set_aside
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
    """Record whatever is left over, and tell what has been set aside."""
    root = _prepare()
    record_finished(root, say=print)
    for folder in sorted((root / ".journal").glob(set_aside(Path("*")).name)):
        print(f"{folder}: set aside: {(folder / REASON).read_text(encoding='utf-8')}")


def _prepare() -> Path:
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    root = project.root()
    _sweep(root)
    return root


def serve(key: str, root: Path) -> None:
    """Record the events of the stages of one DVC, whose process id is `key`, until it is over; or the one event `key`.

    While a stage trains, its run is brought up to date; what is finished, left from before too, has its turn after.
    """
    dvc_lives = lives(int(key) if key.isdigit() else -1)
    shown: dict[Path, float] = {}
    while True:
        # Before the look: a stage that ends just now is then still seen.
        over = not dvc_lives()
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
    with _taken(folder) as is_ours:
        if is_ours and (event := Event.read(folder)).starts_run and event.status == "RUNNING":
            runs.record(runs.connect(root), event, root)


def record_finished(root: Path, key: str = "", say: Callable[[str], object] = lambda _: None) -> None:
    """Record the events of stages that are over, the oldest first, and remove them; `say` a line for each.

    An event is its own recorder's while its stage lives, and anybody's after. One that cannot be read, or that MLflow
    refuses for what is in it, is set aside. Exits with a reason where MLflow cannot be reached.
    """
    client = None
    try:
        for folder in journal.events(root):
            if not _is_own(folder, key) and is_locked(folder / ALIVE):
                continue
            with _taken(folder) as is_ours:
                if not is_ours:
                    continue
                try:
                    event = Event.read(folder)
                except FileNotFoundError:  # recorded by now
                    continue
                except (ValueError, TypeError, KeyError) as error:  # half written, or by other code
                    _set_aside(folder, f"it cannot be read: {one_line(error, 200)}")
                    continue
                if event.status == "RUNNING":
                    continue
                if client is None:
                    client = runs.connect(root)
                try:
                    run_id = runs.record(client, event, root)
                except Exception as error:
                    if not runs.is_refusal(error):
                        raise
                    _set_aside(folder, f"MLflow refuses it: {one_line(error, 200)}")
                else:
                    # Renamed first: a lock that another recorder opens in a folder half removed would come to life.
                    shutil.rmtree(folder.rename(folder.with_name(f"{journal.DRAFT}{folder.name}")))
                    say(f"{event.stage} of run {event.run_name}, {event.status}: recorded in run {run_id}")
    except Exception as error:  # MLflow lets those of its database and network libraries through
        sys.exit(f"{tracking_uri(root)}: {one_line(error, 200)}")


def _set_aside(folder: Path, reason: str) -> None:
    """Put an event where it is in nobody's way, with the reason."""
    (folder / REASON).write_text(reason, encoding="utf-8")
    folder.rename(set_aside(folder))


@contextmanager
def _taken(folder: Path) -> Iterator[bool]:
    """Whether an event is this recorder's alone, and is there; not where another has it, or has recorded it by now."""
    with contextlib.ExitStack() as stack:
        is_ours = False
        with contextlib.suppress(FileNotFoundError):
            is_ours = try_lock(stack.enter_context((folder / "recording.lock").open("a")))
        yield is_ours


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
