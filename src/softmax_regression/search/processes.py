"""The processes that take a search's turns, and what keeps them from waiting for torch."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import forkserver, resource_tracker
from typing import ParamSpec, TypeVar

from softmax_regression.base.running import end_without

Given = ParamSpec("Given")
Made = TypeVar("Made")


def prepare(count: int) -> None:
    """Start the process from which `count` others are forked, where that is several; do not wait until it is ready.

    They are forked not from this one, where a thread watches whether DVC lives, whose locks a fork could keep for ever,
    but from one that has imported all they need. That takes it 2.6 s, of which this one makes use.
    """
    if count == 1:
        return
    multiprocessing.set_forkserver_preload(["softmax_regression.search.preload"])
    resource_tracker.ensure_running()  # the server's start does it too, and unblocks what is blocked below
    # Ctrl-C is this process's, which waits for the turns to end. What is blocked here stays so in what is started.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def pool(count: int) -> Executor:
    """So many processes, or this one alone."""
    if count == 1:
        return _Here()
    prepare(count)
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(count, context, initializer=end_without, initargs=(os.getpid(),))


class _Here(Executor):
    """Works in the process that submits, at once."""

    def submit(self, fn: Callable[Given, Made], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Made]:
        future: Future[Made] = Future()
        future.set_result(fn(*args, **kwargs))
        return future
