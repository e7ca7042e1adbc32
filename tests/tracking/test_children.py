"""The many runs below one event's: a search with its settings."""

import base64
import contextlib
import fcntl
import itertools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import servers
from events import Project
from mlflow import MlflowClient
from mlflow.entities import Run

from softmax_regression.tracking import children, handover, journal, runs
from softmax_regression.tracking.children import CHILD_MODEL_TAG, CHILD_TAG, record_children
from softmax_regression.tracking.event import CHILDREN, CHILDREN_A_FILE, Child, Event, memory
from softmax_regression.tracking.handover import Handover
from softmax_regression.tracking.recorder import record_finished

NAN = float("nan")
TRAINED = Child(
    "lr=0.5",
    {"lr": 0.5, "lr_schedule": "cosine", "epochs": 2, "nothing": None},
    [("train_cost", 0.9, 0), ("valid_cost", 0.8, 0), ("train_cost", 0.4, 1), ("valid_cost", 0.85, 1)],
    {"end": "trained"},
    "abc",
)
DIVERGED = Child("lr=1e+30", {"lr": 1e30, "epochs": 2}, tags={"end": "diverged"}, status="FAILED")
ODD = Child(
    '\'; DROP TABLE runs; -- 100 % "ä" \\ 犬\n🎲 ?',
    {"a b/c.d-e:f": "'\"`?:name, %s {} \\ 犬\n🎲", "empty": ""},
    [("a b/c.d-e: f", 0.1 + 0.2, 0), ("a b/c.d-e: f", 5e-324, 7), ("a b/c.d-e: f", -0.0, 3), ("犬", 1e300, -1)],
    {"of a tag": "'\"`?:name, %s {} \\ 犬\n🎲"},
)
LONG = Child("long", {}, [("valid_cost", 1 / (step + 1), step) for step in range(1001)])
REPEATED = Child("repeated", {}, [("a", 1.0, 0), ("a", 2.0, 0), ("a", 1.0, 0), ("b", NAN, 0), ("b", float("inf"), 1)])
ALL = [TRAINED, DIVERGED, ODD, LONG, REPEATED]


@pytest.fixture(scope="module")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's database with nothing in it, which takes seconds to make."""
    root = tmp_path_factory.mktemp("new")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        runs.connect(root)
    return root / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, new_store: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copy(new_store, tmp_path)
    return project_at(tmp_path)


def project_at(root: Path) -> Project:
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow sets it, as for one project a process
    return Project(root, runs.connect(root), "search")


@pytest.fixture
def by_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """What belongs to a database of sqlite goes through MLflow's client as well, as to any other store."""
    monkeypatch.setattr(children, "SQLITE", "none is")


def search(project: Project, given: Sequence[Child]) -> Event:
    """What a search that is over has left."""
    event = project.event("search", None, starts_run=True, parameters={"draw": 5})
    event.add_children(given)
    return event


def below(client: MlflowClient, parent: Run) -> dict[str, Run]:
    found = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    by_name = {run.info.run_name: run for run in found}
    assert len(by_name) == len(found)
    return by_name


def curve(client: MlflowClient, run: Run, name: str) -> list[tuple[int, float]]:
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name))


def check_values(client: MlflowClient, parent: Run) -> None:
    """That exactly ALL are there, with what they are given."""
    found = below(client, parent)
    assert found.keys() == {child.name for child in ALL}
    for child in ALL:
        run = found[child.name]
        assert run.data.params == {name: str(value) for name, value in child.parameters.items()}
        assert child.tags.items() <= run.data.tags.items()
        assert run.data.tags.get(CHILD_MODEL_TAG, "") == child.model_sha256
        assert (run.info.status, run.info.start_time) == (child.status, parent.info.start_time)
        assert run.info.artifact_uri == parent.info.artifact_uri.replace(parent.info.run_id, run.info.run_id)
    trained, odd, repeated = (found[child.name] for child in (TRAINED, ODD, REPEATED))
    assert curve(client, trained, "valid_cost") == [(0, 0.8), (1, 0.85)]
    assert trained.data.metrics == {"train_cost": 0.4, "valid_cost": 0.85}
    assert odd.data.metrics == {"a b/c.d-e: f": 5e-324, "犬": 1e300}
    assert curve(client, odd, "a b/c.d-e: f") == [(0, 0.1 + 0.2), (3, 0.0), (7, 5e-324)]
    assert found[DIVERGED.name].data.metrics == {}
    assert curve(client, found["long"], "valid_cost") == [(step, 1 / (step + 1)) for step in range(1001)]
    assert curve(client, repeated, "a") == [(0, 1.0), (0, 2.0)]
    assert repeated.data.metrics == {"a": 2.0}


def test_each_child_is_a_run_below_its_events_with_all_its_figures(project: Project) -> None:
    parent = project.record(search(project, ALL))
    assert (parent.data.params, parent.info.status) == ({"draw": "5"}, "FINISHED")
    check_values(project.client, parent)


@pytest.mark.slow
@servers.needs_postgresql
def test_a_server_has_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with servers.mlflow_server(tmp_path, str(tmp_path / "files")) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        project = Project(tmp_path, runs.connect(tmp_path), "search")
        event = search(project, ALL)
        for _ in range(2):
            check_values(project.client, project.record(event))
            memory(event.folder, CHILDREN).unlink()


def tables(root: Path) -> dict[str, list[str]]:
    """All rows of all tables; runs are named by their names instead of their ids, which are random."""
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as connection:
        names = {str(root): "root", **dict(connection.execute("SELECT run_uuid, name FROM runs").fetchall())}
        found = {}
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = map(repr, connection.execute(f"SELECT * FROM {table}"))  # noqa: S608
            found[table] = sorted(replaced(row, names) for row in rows)
    return found


def replaced(text: str, names: dict[str, str]) -> str:
    for before, after in names.items():
        text = text.replace(before, after)
    return text


def test_what_is_inserted_is_what_the_client_would_have_written(
    project: Project, tmp_path: Path, new_store: Path, request: pytest.FixtureRequest
) -> None:
    event = search(project, ALL)
    project.record(event)
    request.getfixturevalue("by_client")
    (other := tmp_path / "other").mkdir()
    shutil.copy(new_store, other)
    project_at(other).record(event)
    inserted, written = tables(tmp_path), tables(other)
    assert len(written["metrics"]) == 4 + 4 + 1001 + 2
    for table in written.keys() - {"experiments", "experiment_tags"}:  # there are times, and packed ids
        assert inserted[table] == written[table], table


class Killed(BaseException):
    """In place of a kill."""


@contextlib.contextmanager
def killed_at_line(number: int) -> Iterator[None]:
    """End the block at so manyeth line of children.py that it goes through, in whatever thread."""
    count = itertools.count(1)

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename != children.__file__:
            return None
        if event == "line" and next(count) == number:
            raise Killed
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    threading.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(before)


@pytest.mark.parametrize("store", ["by insertion", "by_client"])
def test_killed_at_any_line_and_done_again_each_child_is_there_once(
    store: str, project: Project, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if store == "by_client":
        request.getfixturevalue(store)
        monkeypatch.setattr(children, "REQUESTS_AT_ONCE", 1)
    event = search(project, [])
    parent = project.record(event)
    event.add_children([TRAINED, DIVERGED])
    event.add_children([REPEATED])

    def dump() -> dict[str, tuple[dict[str, str], list[tuple[int, float]]]]:
        found = below(project.client, parent)
        return {name: (run.data.params, curve(project.client, run, "train_cost")) for name, run in found.items()}

    whole: Mapping[str, object] = {}
    lines = 0
    for lines in itertools.count(1):
        try:
            with killed_at_line(lines):
                record_children(project.client, parent, event)
            break
        except Killed:
            found = dump()
            assert whole.items() <= found.items()  # what is there stays as it is
            if store == "by insertion":
                assert len(found) in (0, 2, 3)
                whole = found
    assert lines > 30
    assert dump() == {
        "lr=0.5": ({name: str(value) for name, value in TRAINED.parameters.items()}, [(0, 0.9), (1, 0.4)]),
        "lr=1e+30": ({"lr": "1e+30", "epochs": "2"}, []),
        "repeated": ({}, []),
    }
    assert {run.info.status for run in below(project.client, parent).values()} == {"FINISHED", "FAILED"}


def test_children_are_complete_in_whatever_store_they_are_recorded_next(
    project: Project, tmp_path: Path, new_store: Path
) -> None:
    event = search(project, [TRAINED])
    project.record(event)
    event.add_children([DIVERGED])
    (other := tmp_path / "other").mkdir()
    shutil.copy(new_store, other)
    for root in (other, tmp_path):
        elsewhere = project_at(root)
        assert below(elsewhere.client, elsewhere.record(event)).keys() == {TRAINED.name, DIVERGED.name}
        assert str(root) in elsewhere.client.tracking_uri


def test_a_child_that_somebody_deleted_stays_deleted(project: Project) -> None:
    event = search(project, [TRAINED, DIVERGED])
    parent = project.record(event)
    project.client.delete_run(below(project.client, parent)[TRAINED.name].info.run_id)
    memory(event.folder, CHILDREN).unlink()
    assert below(project.client, project.record(event)).keys() == {DIVERGED.name}


def test_a_search_that_somebody_deleted_gets_no_more_children(project: Project) -> None:
    event = search(project, [TRAINED])
    project.client.delete_run(project.record(event).info.run_id)
    event.add_children([DIVERGED])
    assert runs.record(project.client, event, project.root) == "none"
    assert {run.info.run_name for run in project.runs()} == {TRAINED.name}


def test_the_description_of_the_parent_leads_to_its_children_the_best_first(project: Project) -> None:
    event = search(project, [TRAINED, DIVERGED])
    event.status = "RUNNING"
    assert "mlflow.note.content" not in project.record(event).data.tags
    event.status = "KILLED"
    run = project.record(event)
    place = (
        f"#/experiments/{run.info.experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={run.info.run_id}"
    )
    assert run.data.tags["mlflow.note.content"] == f"[2 runs below this one, the best first]({place})"
    view = project.client.get_experiment(run.info.experiment_id).tags[f"mlflow.sharedViewState.{run.info.run_id}"]
    state = json.loads(zlib.decompress(base64.b64decode(view.removeprefix("deflate;"))))
    assert state["searchFilter"] == f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`valid_cost`", True)
    shown = ["metrics.`valid_cost`", "metrics.`valid_accuracy`", "tags.`end`", "params.`lr`"]
    assert state["selectedColumns"] == shown  # neither epochs, which is the same, nor what one of them alone has


def test_no_stage_takes_a_child_for_the_run_that_trained_its_model(project: Project) -> None:
    tested = [("test_accuracy", 0.1, 0)]
    parent = project.record(search(project, [Child("same model", {}, tested, model_sha256="abc")]))
    assert project.record(project.event("evaluate")).data.tags["restored"] == "true"
    trained = project.record(project.event("train"))
    assert "evaluated.in" not in trained.data.tags
    assert trained.data.metrics == {}
    evaluated = project.record(project.event("evaluate", metrics=[("test_accuracy", 0.9, 1_700_000_000_000, 0)]))
    assert evaluated.info.run_id == trained.info.run_id
    (child,) = below(project.client, parent).values()
    assert child.data.metrics == {"test_accuracy": 0.1}


SEARCH_THAT_WAITS = """
import time
from softmax_regression.tracking.event import Child
from softmax_regression.tracking.journal import recording
with recording("search", experiment="search") as event:
    event.add_children([Child(f"lr={lr}", {"lr": lr}, [("valid_cost", 1 / lr, 0)]) for lr in range(1, 251)])
    time.sleep(600)
"""


def test_children_are_recorded_while_the_search_goes_on_and_stay_when_it_is_killed(project: Project) -> None:
    process = subprocess.Popen([sys.executable, "-c", SEARCH_THAT_WAITS])
    try:
        wait_until(lambda: bool(journal.events(project.root)))
        (folder,) = journal.events(project.root)
        wait_until(lambda: Event.read(folder).recorded(CHILDREN, project.client.tracking_uri) == 3)
        (parent,) = (run for run in project.runs() if CHILD_TAG not in run.data.tags)
        assert parent.info.status == "RUNNING"
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not journal.events(project.root))
    (parent,) = (run for run in project.runs() if CHILD_TAG not in run.data.tags)
    assert parent.info.status == "KILLED"
    costs = {run.data.params["lr"]: run.data.metrics["valid_cost"] for run in below(project.client, parent).values()}
    assert costs == {str(lr): 1 / lr for lr in range(1, 251)}


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_outage_loses_no_child(
    project: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with journal.recording("search", experiment="search") as event:
        event.add_children([TRAINED, DIVERGED])
    assert capfd.readouterr().err.startswith("warning: search of run no-commit is not recorded in MLflow: ")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    for _ in range(2):
        record_finished(project.root)
    (parent,) = (run for run in project.runs() if CHILD_TAG not in run.data.tags)
    assert below(project.client, parent).keys() == {TRAINED.name, DIVERGED.name}


def test_a_damaged_file_of_children_has_its_event_set_aside_and_blocks_no_other(project: Project) -> None:
    for name, child in (("1-0-damaged", TRAINED), ("2-0-whole", DIVERGED)):
        event = search(project, [child])
        event.folder = event.folder.rename(event.folder.with_name(name))
        if "damaged" in name:
            (event.folder / CHILDREN / "000000.json").write_text('{"ended": 1, "chil')
    record_finished(project.root)
    reason = (project.root / ".journal/set-aside-1-0-damaged/reason").read_text()
    assert reason.startswith("MLflow refuses it: 000000.json is damaged: Unterminated string")
    assert DIVERGED.name in {run.info.run_name for run in project.runs()}
    assert journal.events(project.root) == []


def test_a_stage_waits_for_as_long_as_children_are_taken_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "LONGEST_WAIT_FOR_A_SERVER", 1.0)
    event = Event(tmp_path / "1-0-event", "search", "search", "", starts_run=True, started=0)
    event.folder.mkdir()

    def take_on() -> None:
        for count in range(1, 8):
            event.note_recorded(CHILDREN, "http://slow", count)
            time.sleep(0.4)
        shutil.rmtree(event.folder)

    with subprocess.Popen(["sleep", "600"]) as recorder:
        waiting = Handover(None, event.folder)
        with waiting.log.open("w") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            print(f"{handover.PROCESS}{recorder.pid}\n{handover.READY}", file=log, flush=True)
            thread = threading.Thread(target=take_on)
            thread.start()
            try:
                assert waiting.wait(is_remote=True) is None
                assert recorder.poll() is None
            finally:
                thread.join()
                recorder.kill()


def test_a_thousand_children_are_recorded_whole(project: Project) -> None:
    names = ("train_cost", "valid_cost", "valid_accuracy")
    curves = [(name, 1 / (epoch + 1), epoch) for epoch in range(10) for name in names]
    event = search(
        project, [Child(str(seed), {"seed": seed} | dict.fromkeys("abcdefg", 1), curves) for seed in range(1000)]
    )
    parent = project.record(event)
    assert len(list((event.folder / CHILDREN).iterdir())) == 1000 / CHILDREN_A_FILE
    with contextlib.closing(sqlite3.connect(project.root / "mlflow.db")) as connection:
        assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (30_000,)
        assert connection.execute("SELECT count(*) FROM params").fetchone() == (8_001,)  # one is the parent's
    assert len(project.runs()) == 1000  # as many as one page of an answer has, of 1,001
    assert parent.info.status == "FINISHED"
