"""The command `softmax`, as a shell starts it."""

import subprocess
import sys
from pathlib import Path

import pytest

from softmax_regression.tools.command import softmax as softmax_command

START = (sys.executable, "-m", "softmax_regression.tools.command")


def softmax(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*START, *arguments], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), *((name, "--help") for name in softmax_command.commands)])
def test_help_is_there_for_each_command(arguments: tuple[str, ...]) -> None:
    done = softmax(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ")


@pytest.mark.parametrize(
    "arguments", [("learn",), ("compare", "a"), ("compare", "a", "b", "--lr", "1"), ("track", "x")]
)
def test_what_is_not_known_is_refused(arguments: tuple[str, ...]) -> None:
    done = softmax(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_mistake_ends_in_one_line(tmp_path: Path) -> None:
    for arguments in (("compare", "a", "b"), ("experiments",)):
        done = softmax(*arguments, folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.splitlines()) == 1


def test_help_waits_for_no_large_library() -> None:
    code = "import sys, softmax_regression.tools.command; print({'torch', 'mlflow', 'dvc', 'numpy'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
