"""Successive halving: who goes on after a rung (Jamieson, Talwalkar, Non-stochastic Best Arm Identification, 2016)."""

import math
from collections.abc import Sequence

from softmax_regression.search.member import Member, by_setting


def better_half(present: Sequence[Member], rung: int) -> list[Member]:
    """Of those that were trained up to the `rung`, an epoch counted from 1, the half that goes on.

    Members that differ in their seeds alone go on together or not at all. The mean of their validation costs after that
    epoch decides, of equal ones the number; the middle one of an odd number goes on too. Where one has diverged before
    it, they count as the worst.
    """
    alike = by_setting(present)
    arrived = [members for members in alike if all(len(member.records) >= rung for member in members)]
    arrived.sort(key=lambda members: math.fsum(each.records[rung - 1].valid_cost for each in members) / len(members))
    return [member for members in arrived[: (len(alike) + 1) // 2] for member in members]
