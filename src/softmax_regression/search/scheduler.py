"""The whole search: which stack has its turn when, in several processes where there are, and what happens at rungs."""

import itertools
import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet
from softmax_regression.search import processes
from softmax_regression.search.halving import better_half
from softmax_regression.search.material import Material
from softmax_regression.search.member import Member

SECONDS_A_TURN = 2.0
"""How much work an interruption may cost."""
MOST_ROWS = 320
"""Classes of all members together. An epoch on MNIST takes each of 32 members 1.04 times what it takes each of 64, of
16 1.11 times and of 8 1.15 times; of more than 32, two processes could not share 64 settings."""
MOST_BYTES = 2**30
ARRAYS = 7
"""As large as the members' weights: those, velocity, gradient, what is on the grid, and what is made on the way."""


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

    A turn takes SECONDS_A_TURN, or an epoch where that is longer. The states are kept in the folder, from which an
    interrupted search goes on; its caller removes it once the results are written. Neither the number of `workers`, of
    processes, nor an interruption changes a byte.
    """
    if folder.exists():
        print(f"{folder.parent.name}: going on with the search", flush=True)
    groups = _groups(members, rungs, material, folder)
    ready = deque((group, stack) for group in groups for stack in group.stacks)
    running: dict[Future[list[Member]], tuple[_Group, _Stack]] = {}
    try:
        with processes.pool(min(workers, len(ready))) as pool:
            while ready or running:
                while ready and len(running) < workers:
                    group, stack = ready.popleft()
                    told = [members[number] for number in stack.numbers]
                    turn = pool.submit(_take_turn, stack.path, told, group.stops[0], material, SECONDS_A_TURN)
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


def _take_turn(path: Path, members: list[Member], until: int, material: Material, seconds: float) -> list[Member]:
    """As turns.take_turn, which needs torch: imported only by who trains."""
    from softmax_regression.search.turns import take_turn

    return take_turn(path, members, until, material, seconds)


def most_members(shape: tuple[int, int]) -> int:
    """How many models of `shape` (classes, pixels) a stack should have."""
    classes, pixels = shape
    return max(1, min(MOST_ROWS // classes, MOST_BYTES // (8 * ARRAYS * classes * pixels)))


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
