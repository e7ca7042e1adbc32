"""What came of each setting, its seeds together."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from softmax_regression.results.statistics import mean_and_error
from softmax_regression.search.member import Member, by_setting
from softmax_regression.search.space import Setting


@dataclass(frozen=True)
class Result:
    """What came of a setting."""

    members: Sequence[Member]
    """One for each of its seeds."""
    costs: np.ndarray
    """Of each seed, in nats, on the held-out images after its last epoch; empty where one seed has diverged."""
    is_stopped: bool
    """At a rung; the costs are those there."""

    @property
    def setting(self) -> Setting:
        """Apart from the seed."""
        return self.first.setting.apart_from_seed

    @property
    def first(self) -> Member:
        """The one that stands for the setting: to take the best seed would be to choose by chance."""
        return self.members[0]

    @property
    def is_trained(self) -> bool:
        """To the end, with every seed."""
        return len(self.costs) > 0 and not self.is_stopped

    @property
    def cost(self) -> float:
        """The mean over the seeds, infinite where one has diverged."""
        return mean_and_error(self.costs)[0] if len(self.costs) else math.inf

    @property
    def error(self) -> float:
        """Its standard error; not a number for one seed."""
        return mean_and_error(self.costs)[1]


def results_of(members: Iterable[Member]) -> list[Result]:
    """A result for each setting: the best first, then those that were stopped, at last those that have diverged."""
    results = []
    for alike in by_setting(members):
        ends = {member.end for member in alike}
        costs = [] if "diverged" in ends else [member.records[-1].valid_cost for member in alike]
        results.append(Result(alike, np.array(costs), "stopped" in ends))
    return sorted(results, key=lambda result: (math.isinf(result.cost), result.is_stopped, result.cost))
