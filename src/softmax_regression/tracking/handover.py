"""How a stage finds the process that records its event, and how long it waits for it.

One recorder serves all stages of a DVC, since most of its time goes into importing MLflow. While it lives, its log in
.journal is locked; the log holds READY with its process id, ANSWERED, and at last why it has given up.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from softmax_regression.tracking.locks import is_locked, lock

READY, ANSWERED = "ready:", "the store has answered"
FIRST_ANSWER, ALL_ANSWERS = 3.0, 9.0
"""Seconds that a stage with its work done waits for a remote server: for its first answer, and for all of them. A
server that is gone costs the three stages that record 9 s in all, one that dies during the first of them 15 s."""
LONGEST_WAIT = 120.0
"""Seconds that it waits for a database of this machine, which other processes may keep busy."""


class Recorder:
    """The recorder of the stages that one DVC starts, as one of these stages sees it."""

    def __init__(self, starter: str | None, event: Path) -> None:
        """`starter` is DVC's process id; where there is none, the stage's `event` has a recorder of its own."""
        self.event = event
        self.log = event.with_name(f"recorder-{starter or event.name}")

    def ensure(self) -> None:
        """Start the recorder unless it lives."""
        with self.log.open("a") as log:
            if lock(log):
                log.truncate(0)
                # The process inherits the locked file as its output, and with it the lock.
                subprocess.Popen(
                    [sys.executable, "-m", "softmax_regression.tracking.recorder", str(self.log)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl-C is for the stage; the recorder has yet to note that it was pressed
                )

    def wait(self, is_remote: bool) -> str | None:
        """Wait until the event is recorded, which removes its folder; return None then, else the reason why not."""
        self.ensure()
        began, process = time.monotonic(), 0
        while self.event.exists():
            lives, said = is_locked(self.log), self._said()
            if not process and said and said[0].startswith(READY):
                # Until now it has not had a chance to ask.
                began, process = time.monotonic(), int(said[0].removeprefix(READY))
            answers = ALL_ANSWERS if ANSWERED in said else FIRST_ANSWER
            late = time.monotonic() - began > (answers if process and is_remote else LONGEST_WAIT)
            if late and process:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
            if (late or not lives) and self.event.exists():
                self.log.unlink(missing_ok=True)
                if late:
                    return "no answer in time"
                return said[-1] if said and not said[-1].startswith((READY, ANSWERED)) else "the recorder was killed"
            time.sleep(0.01)
        return None

    def _said(self) -> list[str]:
        try:
            return self.log.read_text().splitlines()
        except FileNotFoundError:
            return []
