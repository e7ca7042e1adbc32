"""Runs a program's main: mistakes end it in one line, and so does the death of the DVC that started it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from softmax_regression.base.errors import UserError, one_line

STARTED_BY = "SOFTMAX_STARTED_BY"
"""The environment variable with the process, DVC's, without which a stage ends."""


def run(main: Callable[[], None]) -> None:
    """Run `main`; a UserError ends the process with exit code 2 and its one line instead of a traceback.

    So does an OSError, whose cause is in the surroundings too: a full or read-only disk, a missing permission. Ctrl-C
    exits with 130, the shell's convention: DVC records a stage that exits 0 as complete.
    """
    if STARTED_BY in os.environ:
        threading.Thread(target=_end_without, args=[int(os.environ[STARTED_BY])], daemon=True).start()
    try:
        main()
    except UserError as error:
        _exit(2, f"error: {error}")
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error
        _exit(2, f"error: {one_line(reason)}")
    except KeyboardInterrupt:
        _exit(130, "interrupted")


def _exit(code: int, reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    sys.exit(code)


def _end_without(parent: int) -> None:
    """End this process, as a kill does, once `parent` is no longer what started it.

    Nobody would record what it writes then, and it could write over what the next `dvc repro` makes.
    """
    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)
