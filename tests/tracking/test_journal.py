"""What a stage says of itself, through the real recorder and a real store."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from softmax_regression.base.running import STARTED_BY
from softmax_regression.tracking import handover, journal
from softmax_regression.tracking.event import Event
from softmax_regression.tracking.handover import PROCESS
from softmax_regression.tracking.journal import recording
from softmax_regression.tracking.recorder import record_finished, record_left_over


@pytest.fixture(scope="module")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing in them, which takes seconds to make."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_store: Path) -> Path:
    """An empty project in a folder whose name holds a space."""
    root = tmp_path / "my project"
    root.mkdir()
    shutil.copy(new_store, root)
    monkeypatch.setenv("DVC_ROOT", str(root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    monkeypatch.chdir(root)
    return root


def runs(project: Path) -> list[Run]:
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def train_something() -> None:
    with recording("train") as event:
        event.parameters = {"lr": 0.1}
        event.log({"train_cost": 2.5, "valid_cost": float("nan")}, step=0)
        event.log({"train_cost": 1.5}, step=1)
        event.model_sha256 = "abc"


def test_a_finished_block_becomes_a_finished_run(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "tried-lr")
    (project / "params.yaml").write_text("lr: 0.1\n")
    train_something()

    (run,) = runs(project)
    assert (run.info.run_name, run.info.status) == ("tried-lr", "FINISHED")
    assert run.data.params == {"lr": "0.1"}
    assert run.data.metrics == {"train_cost": 1.5}
    assert run.data.tags["dvc.experiment"] == "tried-lr"
    assert float(run.data.tags["seconds.train"]) >= 0
    assert [file.name for file in (project / "mlartifacts" / run.info.run_id / "artifacts").iterdir()] == [
        "params.yaml"
    ]
    assert journal.events(project) == []


def test_an_error_ends_the_block_and_fails_the_run(project: Path) -> None:
    with pytest.raises(ValueError, match="diverged"), recording("train") as event:
        event.log({"train_cost": 9.0})
        raise ValueError("diverged")

    (run,) = runs(project)
    assert (run.info.status, run.data.tags["error"]) == ("FAILED", "ValueError: diverged")
    assert run.data.metrics == {"train_cost": 9.0}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ('{"stage": "tr', "it cannot be read: Unterminated string"),
        ('{"stage": "train", "of_older_code": 1, "model": null}', "it cannot be read: .*of_older_code"),
        (None, "MLflow refuses it: Changing param values is not allowed"),
        ("short", "MLflow refuses it: .* missing 2 required positional arguments"),
    ],
)
def test_an_event_that_cannot_be_recorded_is_set_aside_and_blocks_no_other(
    damage: str | None, reason: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_something()
    with recording("train") as event:
        event.parameters = {"lr": 0.1}
    (run,) = [run for run in runs(project) if run.data.metrics == {}]
    folder = project / ".journal/123-0-refused"
    folder.mkdir(parents=True)
    values = {"stage": "train", "experiment": "softmax-regression", "run_name": "again", "starts_run": True}
    values |= {"started": 1, "ended": 2, "status": "FINISHED", "model": None, "parameters": {"lr": 0.2}}
    values |= {"metrics": [["a", 1.0]]} if damage == "short" else {}
    # As if it had been recorded, with other parameters, once before.
    MlflowClient(f"sqlite:///{project / 'mlflow.db'}").set_tag(run.info.run_id, "journal.event", folder.name)
    (folder / "event.json").write_text(json.dumps(values) if damage in (None, "short") else str(damage))

    record_left_over()
    kept = project / ".journal/set-aside-123-0-refused"
    assert re.search(reason, (kept / "reason").read_text())
    assert re.search(f"^{kept}: set aside: {reason}", capsys.readouterr().out, re.MULTILINE)
    assert journal.events(project) == []
    train_something()
    assert len(runs(project)) == 3


def test_a_deleted_experiment_comes_back_with_its_runs(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train_something()
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'softmax-regression'")
    client.delete_experiment(experiment.experiment_id)
    train_something()
    assert len(runs(project)) == 2
    assert "warning" not in capfd.readouterr().err


STAGE_THAT_WAITS = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
from softmax_regression.tracking.journal import recording
with recording("train") as event:
    event.log({"train_cost": 7.0})
    print("started", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def waiting_stage() -> Iterator[subprocess.Popen[str]]:
    """A stage in the middle of its work, in a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", STAGE_THAT_WAITS], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_killed_stage_is_marked_by_its_recorder(project: Path, waiting_stage: subprocess.Popen[str]) -> None:
    waiting_stage.kill()
    wait_for_empty_journal(project)

    (run,) = runs(project)
    assert run.info.status == "KILLED"


def test_a_stage_killed_with_its_recorder_is_marked_later(project: Path, waiting_stage: subprocess.Popen[str]) -> None:
    (folder,) = journal.events(project)
    assert Event.read(folder).status == "RUNNING"
    recorder = int(subprocess.check_output(["pgrep", "-f", f"recorder-{folder.name}"], text=True))
    os.kill(recorder, signal.SIGKILL)
    waiting_stage.kill()
    waiting_stage.wait()

    assert Event.read(folder).status == "KILLED"
    record_finished(project)
    (run,) = runs(project)
    assert run.info.status == "KILLED"
    assert journal.events(project) == []


def test_a_running_stage_is_left_alone(project: Path, waiting_stage: subprocess.Popen[str]) -> None:
    record_finished(project)
    assert len(journal.events(project)) == 1
    assert waiting_stage.poll() is None


def wait_for_empty_journal(project: Path) -> None:
    deadline = time.monotonic() + 60
    while journal.events(project):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_ctrl_c_is_noted(project: Path, waiting_stage: subprocess.Popen[str]) -> None:
    waiting_stage.send_signal(signal.SIGINT)
    assert waiting_stage.wait() != 0
    (run,) = runs(project)
    assert run.info.status == "KILLED"


def test_a_server_that_refuses_costs_one_warning_and_nothing_is_lost(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    train_something()
    warning = capfd.readouterr().err
    assert warning.startswith("warning: train of run no-commit is not recorded in MLflow: http://127.0.0.1:9: ")
    assert warning.count("\n") == 1
    with recording("evaluate", project / "missing"):
        pass

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    record_finished(project)
    record_finished(project)
    (run,) = runs(project)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"train_cost": 1.5})
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    assert [metric.value for metric in client.get_metric_history(run.info.run_id, "train_cost")] == [2.5, 1.5]


@pytest.mark.slow
def test_a_server_that_never_answers_is_waited_for_no_longer_than_promised(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        for stage in ("train", "evaluate", "visualize"):
            with recording(stage, None if stage == "train" else project / "missing"):
                pass
        # Besides 15 s of waiting, or 20 where train's recorder asks twice, three times the import of MLflow, which a
        # stage's own work usually covers.
        waited = time.monotonic() - started
    assert capfd.readouterr().err.count("warning: ") == 3
    assert len(journal.events(project)) == 3
    assert waited < 60


@pytest.mark.slow
def test_a_server_that_answers_too_slowly_is_waited_for_no_longer_than_promised(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(handover, "LONGEST_WAIT_FOR_A_SERVER", 1.0)

    def drip(listening: socket.socket) -> None:
        """A byte of an answer each half a second: each ends the wait for it, and none is the last."""
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\n" + 1000 * b"X":
                connection.send(bytes([byte]))
                time.sleep(0.5)

    with socket.create_server(("127.0.0.1", 0)) as slow:
        threading.Thread(target=drip, args=[slow], daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{slow.getsockname()[1]}")
        train_something()
    reason = "no answer in time. `make track` records it once MLflow can be reached"
    assert f"is not recorded in MLflow: {reason}\n" in capfd.readouterr().err
    assert not list((project / ".journal").glob("recorder-*"))


@pytest.fixture
def server(tmp_path: Path, new_store: Path) -> Iterator[tuple[str, int]]:
    """A real MLflow server: its address, and its process group, all of which can be stopped and continued."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shutil.copy(new_store, tmp_path / "server.db")
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    locations = ["--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}", "--artifacts-destination", str(tmp_path)]
    process = subprocess.Popen(
        command + locations,
        # The executor of jobs, which evaluate language models, takes seven processes.
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while True:
        try:
            requests.get(f"{address}/health", timeout=5)
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
    yield address, process.pid
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except OSError:
        return False


def test_a_server_that_dies_half_way_loses_nothing_and_doubles_nothing(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], server: tuple[str, int]
) -> None:
    address, group = server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    client = MlflowClient(address)
    (project / "costs.csv").write_text("epoch,train_cost\n")
    with recording("train") as event:
        event.log({"train_cost": 2.5}, step=0)
        while not client.search_experiments(filter_string="name = 'softmax-regression'"):
            time.sleep(0.1)
        os.killpg(group, signal.SIGSTOP)
        event.log({"train_cost": 1.5}, step=1)
        event.keep(project / "costs.csv")
    assert "warning: train of run no-commit is not recorded in MLflow: " in capfd.readouterr().err

    os.killpg(group, signal.SIGCONT)
    while not answers(f"{address}/health"):
        time.sleep(0.2)
    for _ in range(2):  # each with connections of its own, as `make track`; those from before the server has reset
        subprocess.run([sys.executable, "-m", "softmax_regression.tools.command", "track"], check=True)
    client = MlflowClient(address)
    (experiment,) = client.search_experiments(filter_string="name = 'softmax-regression'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert [metric.value for metric in client.get_metric_history(run.info.run_id, "train_cost")] == [2.5, 1.5]
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["costs.csv"]


RUN_OF_ONE_OF_EIGHT = """
import sys
import threading
from softmax_regression.tracking.journal import recording
with recording("train") as event:
    event.parameters = {"number": int(sys.argv[1])}
    event.log({"train_cost": float(sys.argv[1])})
"""


@pytest.mark.slow
def test_eight_at_once_on_a_machine_without_a_store_leave_eight_complete_runs(project: Path) -> None:
    (project / "mlflow.db").unlink()
    started = [
        subprocess.Popen([sys.executable, "-c", RUN_OF_ONE_OF_EIGHT, str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(8)
    ]
    assert [process.communicate()[1] for process in started] == [""] * 8

    found = runs(project)
    assert sorted(run.data.params["number"] for run in found) == [str(number) for number in range(8)]
    assert all(run.data.metrics == {"train_cost": float(run.data.params["number"])} for run in found)
    assert {run.info.status for run in found} == {"FINISHED"}


STAGE = """
import sys
import threading
from pathlib import Path
from softmax_regression.tracking.journal import recording
with recording(sys.argv[1], None if sys.argv[1] == "train" else Path("model")) as event:
    event.model_sha256 = "abc"
    event.log({sys.argv[1]: 1.0})
"""


@pytest.fixture
def dvc(monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for the DVC that starts the stages."""
    process = subprocess.Popen(["sleep", "600"])
    monkeypatch.setenv(STARTED_BY, str(process.pid))
    yield process
    process.kill()
    process.wait()


def run_stage(name: str) -> str:
    done = subprocess.run([sys.executable, "-c", STAGE, name], check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def recorder_of(project: Path, dvc: subprocess.Popen[bytes]) -> int:
    said = (project / ".journal" / f"recorder-{dvc.pid}").read_text().splitlines()
    (process,) = (int(line.removeprefix(PROCESS)) for line in said if line.startswith(PROCESS))
    return process


def test_one_recorder_serves_all_stages_of_a_dvc_and_ends_with_it(
    project: Path, dvc: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # What Python or a library says first must not be taken for the recorder's own words.
    monkeypatch.setenv("PYTHONWARNINGS", "no such category")
    run_stage("train")
    first = recorder_of(project, dvc)
    assert "warning:" not in run_stage("evaluate")
    assert recorder_of(project, dvc) == first

    os.kill(first, signal.SIGKILL)
    assert "warning:" not in run_stage("visualize")
    second = recorder_of(project, dvc)
    assert second != first
    assert journal.events(project) == []
    assert {name for run in runs(project) for name in run.data.metrics} == {"train", "evaluate", "visualize"}

    dvc.kill()  # a zombie now, which is over as well
    deadline = time.monotonic() + 60
    while (project / f".journal/recorder-{dvc.pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
