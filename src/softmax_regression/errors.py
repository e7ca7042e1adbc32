"""What ends a program early: a user's mistake, told in one line, Ctrl-C, and the death of the DVC that started it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

MISTAKES = "MISTAKES"
"""The environment variable with the file in which a worker tells the process that started it of a user's mistake."""


class UserError(Exception):
    """A mistake in a parameter, a file or the surroundings: what was wrong, where, and what to do."""


def exit_on_user_error(main: Callable[[], None]) -> None:
    """Run `main`; a UserError ends the process with exit code 2 and its one line instead of a traceback.

    So does an OSError, whose cause is in the surroundings too: a full or read-only disk, a missing permission.

    Ctrl-C exits with 130, the shell's convention: DVC records a stage that exits 0 as complete. A stage whose DVC has
    died ends at once: nobody would record what it writes, and it could write over what the next `dvc repro` makes.
    """
    if starter := os.environ.get("STARTED_BY"):
        threading.Thread(target=_end_without, args=[int(starter)], daemon=True).start()
    if MISTAKES in os.environ and Path(os.environ[MISTAKES]).exists():
        return
    try:
        main()
    except UserError as error:
        if MISTAKES in os.environ:
            # To fail would have the worker started again, and a mistake is the same the next time.
            Path(os.environ[MISTAKES]).write_text(str(error), encoding="utf-8")
            return
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        print(f"error: {' '.join(reason.split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _end_without(parent: int) -> None:
    """End this process, as a kill does, once `parent` is no longer what started it."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)
