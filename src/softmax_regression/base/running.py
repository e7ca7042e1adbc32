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
"""The environment variable with the process, DVC's or a launcher's, without which this one ends."""
STAGE = "DVC_STAGE"
"""The environment variable in which DVC tells what it starts which stage it is."""
SHELL = "SOFTMAX_SHELL"
"""The environment variable with the process above stages/run: DVC's shell, or DVC itself."""


def run(main: Callable[[], None], takes_arguments: bool = False) -> None:
    """Run `main`; a UserError ends the process with exit code 2 and its one line instead of a traceback.

    So does an OSError, whose cause is in the surroundings too: a full or read-only disk, a missing permission. Ctrl-C
    exits with 130, the shell's convention: DVC records a stage that exits 0 as complete. Arguments are refused
    unless the script takes some: a setting written there would change nothing.
    """
    if main.__module__ == "__main__" and not takes_arguments and len(sys.argv) > 1:
        _refuse_arguments()
    if SHELL in os.environ and STARTED_BY not in os.environ and (dvc := _find_dvc(int(os.environ[SHELL]))):
        os.environ[STARTED_BY] = str(dvc)
    if STARTED_BY in os.environ:
        end_without(int(os.environ[STARTED_BY]))
    try:
        main()
    except UserError as error:
        _exit(2, f"error: {error}")
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error
        _exit(2, f"error: {one_line(reason)}")
    except KeyboardInterrupt:
        _exit(130, "interrupted")


def end_without(pid: int) -> None:
    """Have this process end, as a kill does, once the process that it was started by has died.

    Nobody would record what it writes then, and it could write over what the next `dvc repro` makes.
    """
    starter_lives = lives(pid)

    def watch() -> None:
        while starter_lives():
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def lives(pid: int) -> Callable[[], bool]:
    """A question to ask again and again: whether the process that has this number now still runs.

    A zombie, which nobody has buried yet, does not; nor does another process that has come by the number since.
    """
    import psutil  # here: the code that trains on other machines, for the tests, need not have it

    try:
        process = psutil.Process(pid)
    except (psutil.NoSuchProcess, ValueError):  # a number below 0 is none
        return lambda: False

    def lives_now() -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    return lives_now


def _refuse_arguments() -> NoReturn:
    instead = f"{sys.argv[0]} takes no arguments: change params.yaml, or try dvc exp run -S lr=0.2"
    if sys.argv[1] in ("-h", "--help"):
        print(f"{sys.modules['__main__'].__doc__}\n\n{instead}")
        sys.exit(0)
    _exit(2, f"error: {instead}")


def _exit(code: int, reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    sys.exit(code)


def _find_dvc(shell: int) -> int | None:
    """The process number of the DVC that has started this stage, however many shells lie between.

    None without DVC, and where a process above is another user's. Where the shell has died, DVC has too: the shell's.
    """
    import psutil

    if STAGE not in os.environ:
        return None
    try:
        process: psutil.Process | None = psutil.Process(shell)
        while process and process.environ().get(STAGE) == os.environ[STAGE]:
            process = process.parent()
        return process.pid if process else None
    except psutil.NoSuchProcess:
        return shell
    except psutil.AccessDenied:
        return None
