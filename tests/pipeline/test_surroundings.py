"""The real pipeline in surroundings that it was not made for: it works, or it says in one line what is wrong."""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from clone import Clone, stages_run
from mlflow import MlflowClient
from mlflow.entities import Run

from softmax_regression.tracking import journal

ALONE = ["unshare", "--map-root-user", "--mount", "--net"]
"""Mounts and a network of its own, which takes no administrator."""


@pytest.fixture
def alone() -> None:
    if subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode and not os.environ.get("CI"):
        pytest.skip(f"needs {' '.join(ALONE)}")


@pytest.fixture
def clone(trained: Clone, tmp_path: Path) -> Clone:
    return trained.copy(tmp_path / "clone")


def assert_recorded(folder: Path) -> Run:
    """MLflow has one run, with what all stages add to it; the journal is empty."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert run.info.status == "FINISHED"
    assert run.data.metrics.keys() >= {"train_cost", "test_accuracy"}
    assert run.data.tags["status.visualize"] == "FINISHED"
    assert journal.events(folder) == []
    return run


# Python imports this at each start, also of DVC and of the process that records in MLflow.
LOGGING = """
import sys
def log(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "pickle.find_class"):
        with open(__file__.replace("sitecustomize.py", "log"), "a", encoding="utf-8") as file:
            print(event, sys.argv, *map(repr, arguments), file=file)
sys.addaudithook(log)
"""
# Where nothing leads out, the kernel counts what tries to get there, whatever program it comes from.
COUNTING = """
attempts() { echo "attempts: $(awk '/^Ip:/ { print $13 }' /proc/net/snmp | tail --lines=1)"; }
python -c 'import fcntl, socket, struct
up = struct.pack("16sh", b"lo", 1)
fcntl.ioctl(socket.socket(), 0x8914, up)  # SIOCSIFFLAGS'
echo nameserver 192.0.2.1 > "$1/resolv.conf" && mount --bind "$1/resolv.conf" /etc/resolv.conf
dvc repro && attempts
cat src/log; echo --- what is seen when it happens:
echo '{}' > "$1/report" && dvc daemon analytics "$1/report"
python -c 'import pickle; pickle.loads(pickle.dumps(print))'
cat src/log
attempts
"""


@pytest.mark.usefixtures("alone")
def test_an_odd_path_and_a_bare_environment_change_no_byte_nothing_leaves_the_machine_and_no_pickle_is_read(
    trained: Clone, tmp_path: Path
) -> None:
    folder = tmp_path / f"Größe ‘数字’ it's {'x' * 200}"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{trained.folder}", folder], check=True)
    (folder / "src/sitecustomize.py").write_text(LOGGING)
    (folder / "src/log").touch()
    environment = {"PATH": trained.environment["PATH"], "LC_ALL": "C", "PYTHONPATH": "src"}
    done = subprocess.run(
        [*ALONE, "bash", "-c", COUNTING, "bash", tmp_path],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert stages_run(done.stdout) == ["download", "features", "train", "evaluate", "visualize"]
    printed, control = done.stdout.split("--- what is seen when it happens:\n")
    # What DVC would tell its makers, had .dvc/config not forbidden it, shows that an attempt is seen; so a pickle.
    assert printed.endswith("\nattempts: 0\n")
    assert not control.endswith("\nattempts: 0\n")
    assert "socket.getaddrinfo" in control and "'analytics.dvc.org'" in control
    assert "pickle.find_class" in control and "'builtins' 'print'" in control

    for name in ("dvc.lock", "models/softmax.safetensors", "metrics/test.json"):
        assert (folder / name).read_bytes() == (trained.folder / name).read_bytes(), name
    assert_recorded(folder)


JUMPING = """
import itertools, time
real, calls, day = time.time_ns, itertools.count(), 86_400_000_000_000
time.time_ns = lambda: real() + (0, 30, -400, 1)[next(calls) % 4] * day
time.time = lambda: time.time_ns() / 1e9
"""


@pytest.mark.slow
def test_a_clock_that_jumps_changes_no_byte_and_confuses_no_run(clone: Clone) -> None:
    (clone.folder / "src/sitecustomize.py").write_text(JUMPING)
    for path in [*clone.folder.glob("stages/*"), *clone.folder.glob("src/*/*.py")]:
        os.utime(path, (2**32, 2**32))  # in the year 2106
    lock = (clone.folder / "dvc.lock").read_bytes()
    printed = clone.run("dvc", "repro", "--force", "--no-run-cache", PYTHONPATH="src")
    assert stages_run(printed) == ["download", "features", "train", "evaluate", "visualize"]
    assert (clone.folder / "dvc.lock").read_bytes() == lock
    tags = assert_recorded(clone.folder).data.tags
    # The clock did jump under the stages.
    assert max(abs(float(tags[f"seconds.{stage}"])) for stage in ("train", "evaluate", "visualize")) > 86_400


@pytest.mark.slow
def test_of_two_at_once_the_second_is_refused_and_the_first_finishes(clone: Clone) -> None:
    lock = (clone.folder / "dvc.lock").read_bytes()
    command = ["dvc", "repro", "--force", "--no-run-cache"]
    with (clone.folder.parent / "first").open("w+") as output:
        first = subprocess.Popen(command, cwd=clone.folder, env=clone.environment, stdout=output, stderr=output)
        while "Running stage 'train'" not in Path(output.name).read_text():
            assert first.poll() is None
            time.sleep(0.05)
        printed = clone.run(*command, check=False)
        assert first.wait() == 0
    assert "is busy, it is being blocked by" in printed
    assert f"(PID {first.pid}): " in printed
    assert "Traceback" not in printed
    assert (clone.folder / "dvc.lock").read_bytes() == lock
    assert clone.run("dvc", "status", "dvc.yaml") == "Data and pipelines are up to date.\n"


# Root may write everywhere, unless it gives that up.
UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def read_only(folder: str) -> list[str]:
    """A command's start that makes a folder of the clone another file system, mounted read-only."""
    mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && cd . && exec "$@"'
    return [*ALONE, "bash", "-c", mount, folder]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("start", "folder", "said"),
    [
        (read_only("."), ".", r"ERROR: unexpected error - .* Read-only file system: '\S+/\.dvc/tmp/lock'"),
        (
            read_only("models"),
            "models",
            r"ERROR: failed to reproduce 'train': .* Read-only file system: '\S+/models/.+",
        ),
        (read_only("metrics"), "metrics", r"ERROR: failed to reproduce 'train': .* Read-only file .*: '\S+/metrics/.+"),
        (read_only(".journal"), ".journal", r"error: \S+/\.journal/\S+: Read-only file system"),
        (UNPRIVILEGED, "models", r"ERROR: failed to reproduce 'train': .* Permission denied: '\S+/models/.+"),
        (UNPRIVILEGED, ".journal", r"error: \S+/\.journal/\S+: Permission denied"),
    ],
    ids=["all read-only", "models read-only", "metrics read-only", "journal read-only", "models", "journal"],
)
def test_where_nothing_can_be_written_one_line_says_so_and_the_model_can_be_had_back(
    start: list[str], folder: str, said: str, clone: Clone
) -> None:
    clone.set_parameters(lr=0.05)
    (clone.folder / ".journal").mkdir(exist_ok=True)
    committed = {name: (clone.folder / name).read_bytes() for name in ("dvc.lock", "models/softmax.safetensors")}
    if start == UNPRIVILEGED:
        (clone.folder / folder).chmod(0o555)
    printed = clone.run(*start, "dvc", "repro", check=False)
    (clone.folder / folder).chmod(0o755)
    assert re.search(f"^{said}$", printed, re.MULTILINE)
    assert "Traceback" not in printed
    clone.run("git", "checkout", "metrics")
    clone.run("dvc", "checkout")
    assert {name: (clone.folder / name).read_bytes() for name in committed} == committed
