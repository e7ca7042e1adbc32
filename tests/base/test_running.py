import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from clone import ROOT

from softmax_regression.base.errors import UserError
from softmax_regression.base.running import STARTED_BY, run


def raising(error: BaseException) -> None:
    raise error


def test_a_user_error_ends_with_2_and_its_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(lambda: raising(UserError("lr = -1: must be greater than 0")))
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", "error: lr = -1: must be greater than 0\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", ".journal"), "error: .journal: Permission denied\n"),
        (ConnectionError("two\nlines"), "error: two lines\n"),
    ],
)
def test_what_the_system_refuses_ends_with_2_and_one_line(
    error: OSError, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(lambda: raising(error))
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", line)


def test_ctrl_c_ends_with_130_not_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(lambda: raising(KeyboardInterrupt()))
    assert ended.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_defect_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(lambda: raising(ZeroDivisionError()))


def test_success_goes_on() -> None:
    done: list[bool] = []
    run(lambda: done.append(True))
    assert done == [True]


@pytest.mark.parametrize(
    "script", sorted([*ROOT.glob("stages/*.py"), ROOT / "tutorial/report.py"]), ids=lambda path: path.name
)
def test_a_script_says_what_it_does_and_refuses_what_it_does_not_know(script: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src"}
    for arguments, code in ((["--help"], 0), (["--lr", "0.5"], 2)):
        command = [sys.executable, str(script), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code
        said = done.stderr if code else done.stdout
        assert f"{script} takes no arguments: change params.yaml, or try dvc exp run -S lr=0.2" in said
        assert "Traceback" not in said
    assert not list(tmp_path.iterdir())


STAGE = """
import os, pathlib, time
from softmax_regression.base.running import run
def main():
    pathlib.Path("pid").write_text(str(os.getpid()))
    time.sleep(60)
    pathlib.Path("result").touch()
run(main)
"""
DVC = """
import os, subprocess, sys
subprocess.run(sys.argv[1:], env={**os.environ, "DVC_STAGE": "train"})
"""


@pytest.mark.parametrize(
    "shell",
    [
        pytest.param(
            name, marks=pytest.mark.skipif(not shutil.which(name) and not os.environ.get("CI"), reason=f"needs {name}")
        )
        for name in ("sh", "bash", "tcsh", "fish", "zsh")
    ],
)
def test_a_stage_ends_when_the_dvc_that_started_it_dies(shell: str, tmp_path: Path) -> None:
    """As dvc.yaml starts it, by the user's shell."""
    (tmp_path / "stage.py").write_text(STAGE)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-c", DVC, shell, "-c", f"sh {ROOT}/stages/run stage.py"]
    dvc = subprocess.Popen(command, cwd=tmp_path, env=environment)
    pid = tmp_path / "pid"
    wait_until(lambda: pid.is_file() and pid.read_text() != "")
    stage = int(pid.read_text())
    time.sleep(1)
    assert is_alive(stage)
    dvc.kill()
    dvc.wait()
    wait_until(lambda: not is_alive(stage))


def test_a_stage_that_outlives_its_starter_before_it_could_look_ends_too() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    script = "import time; from softmax_regression.base.running import run; run(lambda: time.sleep(60))"
    ended = subprocess.run([sys.executable, "-c", script], env={**os.environ, STARTED_BY: str(gone.pid)}, check=False)
    assert ended.returncode == -signal.SIGTERM


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Not gone, nor a zombie that nobody has buried yet."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
