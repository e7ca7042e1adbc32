"""One setting of a search, and what has come of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from softmax_regression.search.space import Setting
from softmax_regression.training.record import EpochRecord


@dataclass
class Member:
    """A setting and its training so far."""

    number: int
    """Its place among the settings."""
    setting: Setting
    records: list[EpochRecord] = field(default_factory=list)
    """Of each epoch so far: those of a training of its own, to the bit."""
    end: Literal["", "trained", "stopped", "diverged"] = ""
    """Empty while it is trained; stopped at a rung; or diverged in the epoch after the last record."""
    model_sha256: str = ""
    """Once it is trained: of the file that a training of its own saves."""


def by_setting(members: Iterable[Member]) -> list[list[Member]]:
    """Those that differ in their seeds alone together, in the order of their first ones."""
    found: dict[object, list[Member]] = {}
    for member in members:
        found.setdefault(member.setting.apart_from_seed, []).append(member)
    return [*found.values()]
