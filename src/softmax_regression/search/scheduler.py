"""The whole search: which stack has its turn when, in several processes where there are, and what happens at rungs."""

import itertools
import math
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from softmax_regression.base.errors import UserError
from softmax_regression.base.running import end_without
from softmax_regression.data.images import ImageSet
from softmax_regression.model.arithmetic import set_threads
from softmax_regression.search.halving import better_half
from softmax_regression.search.member import Member
from softmax_regression.search.stack import most_members
from softmax_regression.search.turns import Material, take_turn
from softmax_regression.training.checkpoint import SECONDS_BETWEEN

Given = ParamSpec("Given")
Made = TypeVar("Made")


@dataclass
class _Group:
    """The stacks of one batch size and number of epochs, which are compared with each other."""

    stacks: list["_Stack"]
    present: list[int]
    """Numbers of the members that were there after the last rung."""
    stops: list[int]
    """The rungs still to come, and the last epoch."""


@dataclass
class _Stack:
    numbers: list[int]
    path: Path


def search(
    members: list[Member], rungs: Sequence[int], material: Material, folder: Path, workers: int
) -> Iterator[list[Member]]:
    """Train all members; after each turn of a stack, put its members into the list anew and yield them.

    A turn takes SECONDS_BETWEEN, or an epoch where that is longer. The states are kept in the folder, from which an
    interrupted search goes on; its caller removes it once the results are written. Neither the number of `workers`, of
    processes, nor an interruption changes a byte.
    """
    if folder.exists():
        print(f"{folder.parent.name}: going on with the search", flush=True)
    groups = _groups(members, rungs, material, folder)
    ready = deque((group, stack) for group in groups for stack in group.stacks)
    running: dict[Future[list[Member]], tuple[_Group, _Stack]] = {}
    try:
        with _processes(min(workers, len(ready))) as pool:
            while ready or running:
                while ready and len(running) < workers:
                    group, stack = ready.popleft()
                    told = [members[number] for number in stack.numbers]
                    turn = pool.submit(take_turn, stack.path, told, group.stops[0], material, SECONDS_BETWEEN)
                    running[turn] = group, stack
                for turn in wait(running, return_when=FIRST_COMPLETED).done:
                    group, stack = running.pop(turn)
                    advanced = turn.result()
                    for member in advanced:
                        members[member.number] = member
                    yield advanced
                    if not _has_arrived(members, group, stack):
                        ready.appendleft((group, stack))
                    elif all(other is not group for other, _ in (*ready, *running.values())):
                        ready.extend((group, each) for each in _after_rung(members, group))
    except BrokenProcessPool:
        raise UserError(
            "a process of the search has died, perhaps for want of memory, of which workers = 1 takes less; "
            "started again, the search goes on from there"
        ) from None


def _groups(members: Sequence[Member], rungs: Sequence[int], material: Material, folder: Path) -> list[_Group]:
    """In the order of their first members; likewise the seeds within a group, of which each has stacks of its own."""
    most = most_members(ImageSet.load(material.data).with_features(material.features).model_shape)
    found: dict[tuple[int, int], dict[int, list[int]]] = {}
    for member in members:
        setting = member.setting
        seeds = found.setdefault((setting.epochs, setting.batch_size), {})
        seeds.setdefault(setting.seed, []).append(member.number)
    groups, count = [], 0
    for (epochs, _), seeds in found.items():
        stacks = []
        for numbers in seeds.values():
            parts = math.ceil(len(numbers) / most)
            bounds = [part * len(numbers) // parts for part in range(parts + 1)]
            for start, stop in itertools.pairwise(bounds):
                stacks.append(_Stack(numbers[start:stop], folder / f"{count}.safetensors"))
                count += 1
        stops = [*(rung for rung in rungs if rung < epochs), epochs]
        groups.append(_Group(stacks, sorted(itertools.chain(*seeds.values())), stops))
    return groups


def _has_arrived(members: Sequence[Member], group: _Group, stack: _Stack) -> bool:
    there = (members[number] for number in stack.numbers)
    return all(member.end or len(member.records) >= group.stops[0] for member in there)


def _after_rung(members: Sequence[Member], group: _Group) -> list[_Stack]:
    """Stop the worse half where the group has reached a rung; return the stacks that go on."""
    rung = group.stops.pop(0)
    if not group.stops:
        return []
    kept = sorted(member.number for member in better_half([members[number] for number in group.present], rung))
    for number in set(group.present) - set(kept):
        members[number].end = members[number].end or "stopped"
    group.present = kept
    return [stack for stack in group.stacks if not all(members[number].end for number in stack.numbers)]


class _Here(Executor):
    """Works in the process that submits, at once."""

    def submit(self, fn: Callable[Given, Made], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Made]:
        future: Future[Made] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _processes(count: int) -> Executor:
    if count == 1:
        return _Here()
    # Forked not from here, where a thread watches whether DVC lives, whose locks a fork could keep for ever, but from a
    # process that has imported what this one has, so that each need not: of a search of 34 s that takes off 2.3 s.
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([name for name in sys.modules if name.startswith("softmax_regression.")])
    pool = ProcessPoolExecutor(count, server, initializer=_begin, initargs=(os.getpid(),))
    # Ctrl-C is this process's, which waits for the turns to end. What is blocked here stays so in the processes that
    # the first call starts, be it in the seconds for which they import.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    pool.submit(int)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pool


def _begin(starter: int) -> None:
    end_without(starter)
    set_threads()
