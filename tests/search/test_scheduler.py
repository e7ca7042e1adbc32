"""The whole search: whatever the stacks, the processes and the interruptions, each member is what it is alone."""

import multiprocessing
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from alone import SETTING, Alone, made_up

from softmax_regression.base.errors import UserError
from softmax_regression.search import scheduler
from softmax_regression.search.material import Material
from softmax_regression.search.member import Member
from softmax_regression.search.scheduler import most_members, search
from softmax_regression.search.space import Setting
from softmax_regression.training.record import EpochRecord

SETTINGS = [
    replace(SETTING, batch_size=60, lr=0.3, weight_decay=0.01),
    replace(SETTING, batch_size=60, lr=0.1, momentum=0.0, seed=4),
    replace(SETTING, batch_size=60, lr=1e4, weight_decay=0.5, seed=4),
    replace(SETTING, batch_size=60, lr=0.9, lr_schedule="cosine", init_std=0.0),
    replace(SETTING, batch_size=100, epochs=2, init_std=1.0),
    replace(SETTING, batch_size=60, lr=0.02, lr_schedule="constant", init_std=0.01),
    replace(SETTING, batch_size=60, lr=1.3, momentum=0.5, seed=4),
    replace(SETTING, batch_size=60, lr=0.2, momentum=0.5),
    replace(SETTING, batch_size=100, epochs=2, lr=0.01, seed=5),
]
"""Of two groups: 7 members for 4 epochs, one of whom diverges, and 2 for 2."""


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return made_up(tmp_path_factory.mktemp("images"))


Trained = tuple[list[EpochRecord], str]


@pytest.fixture(scope="module")
def expected(material: Material) -> list[Trained]:
    with pytest.MonkeyPatch.context() as patch:
        alone = Alone(material, patch)
        return [alone.train(setting) for setting in SETTINGS]


def fresh(settings: Sequence[Setting] = SETTINGS) -> list[Member]:
    return [Member(number, setting) for number, setting in enumerate(settings)]


def run(
    material: Material, folder: Path, rungs: Sequence[int] = (), workers: int = 1, turns: int = 999
) -> list[Member]:
    """The members after so many turns, then interrupted."""
    members = fresh()
    turning = search(members, rungs, material, folder, workers)
    for _ in islice(turning, turns):
        pass
    turning.close()  # type: ignore[attr-defined]
    return members


@pytest.fixture(params=["large stacks, long turns", "small stacks, short turns"])
def cut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the small ones, two members are a stack and an epoch is a turn."""
    if request.param.startswith("small"):
        monkeypatch.setattr(scheduler, "MOST_ROWS", 6)
        monkeypatch.setattr(scheduler, "SECONDS_A_TURN", -1)


def assert_alone(members: Sequence[Member], expected: Sequence[Trained]) -> None:
    for member, (records, model) in zip(members, expected, strict=True):
        match member.end:
            case "trained":
                assert (member.records, member.model_sha256) == (records, model)
            case "stopped":
                assert 0 < len(member.records) < len(records)
                assert member.records == records[: len(member.records)]
            case "diverged":
                assert model.startswith(f"epoch {len(member.records)}: the cost is no longer finite")
            case _:
                raise AssertionError(member)


@pytest.mark.usefixtures("cut")
def test_all_members_are_trained_as_alone(material: Material, expected: list[Trained], tmp_path: Path) -> None:
    members = run(material, tmp_path / "search")
    assert_alone(members, expected)
    assert [member.end for member in members].count("trained") == 8 and members[2].end == "diverged"
    assert len({member.model_sha256 for member in members}) == 9


def halves(expected: Sequence[Trained], numbers: list[int], rungs: Sequence[int]) -> list[int]:
    """Who goes on to the end, by what each was alone."""
    for rung in rungs:
        arrived = [number for number in numbers if len(expected[number][0]) >= rung]
        arrived.sort(key=lambda number: expected[number][0][rung - 1].valid_cost)
        numbers = arrived[: (len(numbers) + 1) // 2]
    return sorted(numbers)


@pytest.mark.usefixtures("cut")
def test_the_better_half_of_all_seeds_goes_on_as_if_nobody_had_left(
    material: Material, expected: list[Trained], tmp_path: Path
) -> None:
    members = run(material, tmp_path / "search", rungs=[1, 3])
    assert_alone(members, expected)
    ends = [member.end for member in members]
    kept = halves(expected, [0, 1, 2, 3, 5, 6, 7], [1, 3]) + halves(expected, [4, 8], [1])
    assert [number for number, end in enumerate(ends) if end == "trained"] == sorted(kept)
    assert len(kept) == 3 and ends.count("stopped") == 5 and ends[2] == "diverged"


@pytest.mark.usefixtures("cut")
@pytest.mark.parametrize("turns", [1, 2, 4, 7])
@pytest.mark.parametrize("rungs", [(), (1, 3)])
def test_a_search_that_was_interrupted_goes_on_with_the_same_bytes(
    turns: int,
    rungs: tuple[int, ...],
    material: Material,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = run(material, tmp_path / "whole", rungs)
    assert capsys.readouterr().out == ""
    run(material, tmp_path / "parted", rungs, turns=turns)
    assert run(material, tmp_path / "parted", rungs) == whole
    assert capsys.readouterr().out == f"{tmp_path.name}: going on with the search\n"


def test_two_processes_give_what_one_does(material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "MOST_ROWS", 6)
    whole = run(material, tmp_path / "whole", rungs=[1, 3])
    monkeypatch.setattr(scheduler, "SECONDS_A_TURN", -1)
    assert run(material, tmp_path / "two", rungs=[1, 3], workers=2) == whole


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0, 2], ids=["during a turn", "between two turns"])
def test_a_search_goes_on_after_one_of_its_processes_was_killed(
    wait: float, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "MOST_ROWS", 6)
    whole = run(material, tmp_path / "whole", rungs=[1, 3])
    monkeypatch.setattr(scheduler, "SECONDS_A_TURN", -1)
    turning = search(fresh(), [1, 3], material, tmp_path / "two", workers=2)
    next(turning)
    victim, *_ = multiprocessing.active_children()
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    time.sleep(wait)
    with pytest.raises(UserError, match=r"^a process of the search has died, .*; started again, the search goes on"):
        list(turning)
    assert run(material, tmp_path / "two", rungs=[1, 3]) == whole


def test_what_a_turn_cannot_write_ends_the_search_in_a_line(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "SECONDS_A_TURN", -1)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        run(material, tmp_path / "file" / "search")


@pytest.mark.parametrize(
    ("classes", "pixels", "members"),
    [(10, 784, 32), (10, 64, 32), (2, 784, 160), (47, 784, 6), (1000, 784, 1), (10, 3 * 256 * 256, 9), (500, 10**7, 1)],
)
def test_a_stack_fits_the_cache_and_the_memory(classes: int, pixels: int, members: int) -> None:
    assert most_members((classes, pixels)) == members
    assert members == 1 or 8 * scheduler.ARRAYS * members * classes * pixels <= scheduler.MOST_BYTES
