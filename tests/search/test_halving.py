from dataclasses import replace

from alone import SETTING

from softmax_regression.search.halving import better_half
from softmax_regression.search.member import Member
from softmax_regression.training.record import EpochRecord


def members(*costs: list[float], seeds: int = 1) -> list[Member]:
    """Of settings that differ in their learning rate, each with so many seeds in turn."""
    return [
        Member(
            number,
            replace(SETTING, lr=1.0 + number // seeds, seed=number % seeds),
            [EpochRecord(epoch, 0.0, cost, 0.0) for epoch, cost in enumerate(each)],
        )
        for number, each in enumerate(costs)
    ]


def kept(*costs: list[float], rung: int, seeds: int = 1) -> list[int]:
    return sorted(member.number for member in better_half(members(*costs, seeds=seeds), rung))


def test_the_cost_after_the_rung_decides_neither_an_earlier_nor_a_later_one() -> None:
    assert kept([1, 5, 1], [2, 4, 3], [3, 3, 4], [4, 2, 9], rung=2) == [2, 3]


def test_the_middle_one_goes_on_and_so_does_the_last() -> None:
    assert kept([3], [1], [2], rung=1) == [1, 2]
    assert kept([3], rung=1) == [0]


def test_of_equal_costs_the_first_goes_on() -> None:
    assert kept([2], [2], [2], [1], rung=1) == [0, 3]


def test_who_has_diverged_counts_as_the_worst() -> None:
    assert kept([1, 1], [2], [3, 3], [4], [5], [], rung=2) == [0, 2]
    assert kept([1, 1], [2, 2], [3, 3], [4], rung=2) == [0, 1]
    assert kept([], [], rung=1) == []


def test_the_seeds_of_a_setting_go_on_together_by_their_mean() -> None:
    assert kept([1], [9], [4], [4], [6], [5], [2], [7], rung=1, seeds=2) == [2, 3, 6, 7]
    assert kept([1], [], [4], [5], rung=1, seeds=2) == [2, 3]
