"""Two models compared, and where their predictions come from."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from softmax_regression.base.errors import UserError
from softmax_regression.tools.comparison import PREDICTIONS, TEST_IMAGES, compare, compare_right

GENERATOR = np.random.default_rng(0)
RIGHT = GENERATOR.random(2000) < 0.9


def flipped(share: float) -> np.ndarray:
    """Which images a model is right on that differs from RIGHT on a share of them."""
    return RIGHT ^ (np.random.default_rng(1).random(2000) < share)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.3])
def test_p_is_that_of_statsmodels(share: float) -> None:
    found = compare_right("a", RIGHT, "b", flipped(share))
    counts = [[found.both_right, found.only_a_right], [found.only_b_right, found.both_wrong]]
    assert np.sum(counts) == found.images == 2000
    assert found.mcnemar_p == pytest.approx(mcnemar(counts, exact=True).pvalue, rel=1e-9)


def test_the_difference_and_its_interval_are_those_of_resampled_images() -> None:
    other = flipped(0.05)
    found = compare_right("a", RIGHT, "b", other)
    rows = np.random.default_rng(2).integers(0, 2000, (4000, 2000))
    resampled = (other[rows].mean(1) - RIGHT[rows].mean(1)).astype(float)
    assert found.difference == pytest.approx(other.mean() - RIGHT.mean())
    interval = (found.difference_low, found.difference_high)
    np.testing.assert_allclose(interval, np.quantile(resampled, [0.025, 0.975]), atol=0.001)


def test_what_chance_explains_is_said_to_be_chance_and_what_it_does_not_is_not() -> None:
    chance = compare_right("a", RIGHT, "b", flipped(0.001))
    assert "Chance alone could explain the difference" in chance.conclusion
    beyond = compare_right("a", RIGHT, "b", flipped(0.3))
    assert beyond.conclusion == "a is right more often than b, beyond chance, on images like these."
    assert compare_right("b", flipped(0.3), "a", RIGHT).conclusion == beyond.conclusion


def test_ten_lines_tell_it() -> None:
    found = compare_right("a", np.array([True, True, False, False]), "later", np.array([True, False, True, False]))
    assert str(found).splitlines() == [
        "4 test images; intervals are those of 95 %",
        "a      accuracy 0.5000 (0.1500 to 0.8500)",
        "later  accuracy 0.5000 (0.1500 to 0.8500)",
        "both right 1, both wrong 1",
        "only a right 1",
        "only later right 1",
        "difference +0.0000 (-0.5658 to +0.5658)",
        "exact McNemar test: p = 1",
        "Chance alone could explain the difference: these 4 images do not tell which is better.",
        "To choose between models, use the held-out images: softmax experiments",
    ]


@pytest.fixture
def commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A repository with DVC and a remote, and a way to commit predictions under a tag."""
    for variable in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(variable, "a@example.org")
    monkeypatch.chdir(tmp_path)

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")

    def run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)

    def commit(tag: str, predicted: str, actual: str = "0101", images: str = "four") -> None:
        for name, content in (
            (PREDICTIONS, "actual,predicted\n" + "".join(map("{},{}\n".format, actual, predicted))),
            (TEST_IMAGES, images),
        ):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_text(content)
            run("dvc", "add", "--quiet", name)
        run("git", "add", ".")
        run("git", "commit", "--quiet", "--allow-empty", "--message", tag)
        run("git", "tag", tag)
        run("dvc", "push", "--quiet")

    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    run("dvc", "remote", "add", "--quiet", "--default", "shared", str(tmp_path / "remote"))
    commit("first", "0101")
    return commit


def test_predictions_come_from_the_workspace_the_cache_or_the_remote(
    commit: Callable[..., None], tmp_path: Path
) -> None:
    commit("second", "0110")
    found = compare("first", "second", str(tmp_path))
    assert (found.only_a_right, found.only_b_right, found.both_right) == (2, 0, 2)

    (tmp_path / ".dvc/cache").rename(tmp_path / "cache")
    Path(PREDICTIONS).write_text("actual,predicted\n0,1\n1,0\n0,1\n1,0\n")
    found = compare("first", "workspace", str(tmp_path))
    assert (found.only_a_right, found.both_right) == (4, 0)


def test_what_cannot_be_compared_is_refused_in_one_line(commit: Callable[..., None], tmp_path: Path) -> None:
    commit("other-labels", "0101", actual="0111")
    commit("other-images", "0101", images="other")
    for other in ("other-labels", "other-images"):
        with pytest.raises(UserError, match=rf"^first and {other} were tested on different images, which .*$"):
            compare("first", other, str(tmp_path))
    with pytest.raises(UserError, match=r"^second: no commit, branch, tag or experiment; .*$"):
        compare("first", "second", str(tmp_path))
    for folder in (".dvc/cache", "remote"):
        (tmp_path / folder).rename(tmp_path / f"{folder}-gone")
    with pytest.raises(
        UserError, match=r"^first: metrics/predictions.csv cannot be had from the cache or the remote: "
    ):
        compare("first", "workspace", str(tmp_path))
