"""How a stage finds the process that records its event, and how long it waits for it.

One recorder serves all stages of a DVC, since most of its time goes into importing MLflow. While it lives, its log in
.journal is locked; the log has lines PROCESS with its id, READY, and at last why it has given up.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from softmax_regression.tracking.event import CHILDREN, memory
from softmax_regression.tracking.locks import is_locked, try_lock

PROCESS, READY = "process: ", "ready"
LONGEST_WAIT, LONGEST_WAIT_FOR_A_SERVER = 120.0, 30.0
"""Seconds that a stage with its work done waits: for a database of this machine, which other processes may keep busy;
and for a server, once the recorder can ask it, and from each file of children that it has taken on. A server that is
silent costs less: each question to it ends after 5 s, by MLflow's time-out (runs.py), and once the stage is done, the
recorder with it. Only what has longer time-outs, as a store for files, is cut off here."""
REASON = "reason"


def set_aside(event: Path) -> Path:
    """Where an event is put that cannot be recorded, its REASON in a file in it; renamed back, it is tried again."""
    return event.with_name(f"set-aside-{event.name}")


class Handover:
    """The recorder of the stages that one DVC starts, as one of these stages sees it."""

    def __init__(self, starter: str | None, event: Path) -> None:
        """`starter` is DVC's process id; where there is none, the stage's `event` has a recorder of its own."""
        self.event = event
        self.log = event.with_name(f"recorder-{starter or event.name}")

    def ensure(self) -> None:
        """Start the recorder unless it lives."""
        while True:
            with self.log.open("a") as log:
                if not try_lock(log):
                    return
                if self._is_there(log):
                    log.truncate(0)
                    # The process inherits the locked file as its output, and with it the lock.
                    process = subprocess.Popen(
                        [sys.executable, "-m", "softmax_regression.tracking.recorder", str(self.log)],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,  # Ctrl-C is for the stage; the recorder has yet to note it
                    )
                    print(f"{PROCESS}{process.pid}", file=log, flush=True)
                    return

    def wait(self, is_remote: bool) -> str | None:
        """Wait until the event is recorded, which removes its folder; return None then, else why not and what to do."""
        if self.event.exists():
            self.ensure()
        began, ready, progress = time.monotonic(), False, self._progress()
        while self.event.exists():
            lives, said = is_locked(self.log), self._said()
            if READY in said and not ready:  # until now it has not had a chance to ask
                began, ready = time.monotonic(), True
            if (seen := self._progress()) != progress:
                began, progress = time.monotonic(), seen
            longest = LONGEST_WAIT_FOR_A_SERVER if ready and is_remote else LONGEST_WAIT
            late = time.monotonic() - began > longest
            if late and lives:
                self._kill(said)  # and look again until it is gone, with all its locks
            elif not lives and self.event.exists():
                self.log.unlink(missing_ok=True)
                reason = "no answer in time" if late else "it was killed"
                if said and not said[-1].startswith((PROCESS, READY)):
                    reason = said[-1]  # however long it took to end after that
                return f"{reason}. `make track` records it once MLflow can be reached"
            time.sleep(0.01)
        kept = set_aside(self.event)
        return f"{(kept / REASON).read_text(encoding='utf-8')}. It is kept in {kept}" if kept.exists() else None

    def _is_there(self, log: IO[str]) -> bool:
        """Whether the open log still has its name: a recorder that has just ended removes it, and the lock with it."""
        try:
            return os.path.samestat(os.fstat(log.fileno()), self.log.stat())
        except FileNotFoundError:
            return False

    def _said(self) -> list[str]:
        try:
            return self.log.read_text().splitlines()
        except FileNotFoundError:
            return []

    def _progress(self) -> float:
        """When the recorder last noted that the event's children of one more file are recorded."""
        try:
            return memory(self.event, CHILDREN).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _kill(self, said: list[str]) -> None:
        for line in said:
            if line.startswith(PROCESS):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(line.removeprefix(PROCESS)), signal.SIGKILL)
