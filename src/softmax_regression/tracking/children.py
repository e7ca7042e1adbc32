"""Records the children of an event, hundreds at a time, as runs in MLflow below the event's own."""

import json
import math
import sqlite3
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, ViewType
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NAME, MLFLOW_RUN_NOTE

from softmax_regression.tracking import views
from softmax_regression.tracking.event import CHILDREN, Child, Event
from softmax_regression.tracking.store import SQLITE

CHILD_TAG = "journal.child"
CHILD_MODEL_TAG = "child.model.sha256"
"""Not registry.MODEL_TAG, by which the pipeline's stages find the run that trained their model."""
REQUESTS_AT_ONCE = 8
"""A server 0.1 s away takes 0.14 s a child so, as one on this machine does, instead of 0.68 s one by one."""
PATIENCE = 20.0
"""Seconds for which another process may keep the database busy, as MLflow has it."""
TABLES = {
    "runs": "run_uuid, name, status, start_time, end_time, experiment_id, user_id, artifact_uri, "
    "lifecycle_stage, source_type, source_name, source_version, entry_point_name",
    "tags": "run_uuid, key, value",
    "params": "run_uuid, key, value",
    "metrics": "run_uuid, key, step, value, timestamp, is_nan",
    "latest_metrics": "run_uuid, key, step, value, timestamp, is_nan",
}
"""MLflow's, and their columns in the order in which `_rows` has them."""


@dataclass(frozen=True)
class _Run:
    """A child as MLflow is to have it."""

    name: str
    status: str
    started: int
    ended: int
    tags: Mapping[str, str]
    parameters: Mapping[str, str]
    metrics: Sequence[tuple[str, int, float]]
    """Name, step and value, each once."""


def record_children(client: MlflowClient, parent: Run, event: Event) -> None:
    """Record the children that this store does not have yet, each once, whatever has been interrupted before."""
    files = sorted((event.folder / CHILDREN).glob("*.json"))
    for number in range(event.recorded(CHILDREN, client.tracking_uri), len(files)):
        _record_file(client, parent, event, files[number])
        event.note_recorded(CHILDREN, client.tracking_uri, number + 1)
    if files and event.status != "RUNNING":
        _link(client, parent, [child for file in files for child in _load(file)[0]])


def _link(client: MlflowClient, parent: Run, children: Sequence[Child]) -> None:
    """Have the parent's description lead to its children, the best first."""
    experiment_id, run_id = parent.info.experiment_id, parent.info.run_id
    tags = dict.fromkeys(name for child in children for name in child.tags)
    view = views.of_children(run_id, [child.parameters for child in children], tags)
    client.set_experiment_tag(experiment_id, views.tag(run_id), view)
    description = f"[{len(children)} runs below this one, the best first]({views.address(experiment_id, run_id)})"
    client.set_tag(run_id, MLFLOW_RUN_NOTE, description)


def _record_file(client: MlflowClient, parent: Run, event: Event, file: Path) -> None:
    key = f"{event.folder.name}/{file.stem}"
    children = _read(file, key, parent, event)
    query = f"tags.`{CHILD_TAG}` LIKE '{key}/%'"
    found = client.search_runs([parent.info.experiment_id], query, ViewType.ALL)
    known = {run.data.tags[CHILD_TAG]: run for run in found}
    if client.tracking_uri.startswith(SQLITE) and not known:
        # A child takes 30 ms by three calls of MlflowClient, 24 of which it computes, and so 2 ms.
        _insert(Path(client.tracking_uri.removeprefix(SQLITE)), parent, children)
    else:
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            list(pool.map(lambda child: _log(client, parent, child, known.get(child.tags[CHILD_TAG])), children))


def _read(file: Path, key: str, parent: Run, event: Event) -> list[_Run]:
    given, ended = _load(file)
    children = []
    for number, child in enumerate(given):
        tags = {**child.tags, CHILD_TAG: f"{key}/{number}", MLFLOW_PARENT_RUN_ID: parent.info.run_id}
        if child.model_sha256:
            tags[CHILD_MODEL_TAG] = child.model_sha256
        parameters = {name: str(value) for name, value in child.parameters.items()}
        metrics = dict.fromkeys((name, step, value) for name, value, step in child.metrics if math.isfinite(value))
        children.append(_Run(child.name, child.status, event.started, ended, tags, parameters, list(metrics)))
    return children


def _load(file: Path) -> tuple[list[Child], int]:
    """The children in a file, and when they had ended."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TypeError(f"{file.name} is damaged: {error}") from error  # so the event is set aside (runs.is_refusal)
    return [Child(**values) for values in content["children"]], content["ended"]


def _log(client: MlflowClient, parent: Run, child: _Run, run: Run | None) -> None:
    """Record a child in three calls, some of which may have been made before an interruption."""
    if run is None:
        run = client.create_run(parent.info.experiment_id, child.started, dict(child.tags), child.name)
    if run.info.status == "RUNNING" and run.info.lifecycle_stage == "active":
        metrics = [Metric(name, value, child.ended, step) for name, step, value in child.metrics]
        client.log_batch(run.info.run_id, metrics, [Param(*parameter) for parameter in child.parameters.items()])
        client.set_terminated(run.info.run_id, child.status, child.ended)


def _insert(database: Path, parent: Run, children: Sequence[_Run]) -> None:
    """Write into MLflow's tables what it would write for `_log`, of all children or of none."""
    with closing(sqlite3.connect(database, PATIENCE)) as connection, connection:
        for child in children:
            for table, row in _rows(parent, child):
                marks = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} ({TABLES[table]}) VALUES ({marks})", row)  # noqa: S608


def _rows(parent: Run, child: _Run) -> Iterator[tuple[str, Sequence[object]]]:
    """The rows of a child, each with the name of its table."""
    info, run_id = parent.info, uuid.uuid4().hex
    artifacts = info.artifact_uri.replace(info.run_id, run_id)
    run = (run_id, child.name, child.status, child.started, child.ended, info.experiment_id, info.user_id, artifacts)
    yield "runs", (*run, "active", "UNKNOWN", "", "", "")
    for tag in (*child.tags.items(), (MLFLOW_RUN_NAME, child.name)):
        yield "tags", (run_id, *tag)
    for parameter in child.parameters.items():
        yield "params", (run_id, *parameter)
    metrics = [(run_id, *metric, child.ended, False) for metric in child.metrics]
    for row in metrics:
        yield "metrics", row
    for row in {row[1]: row for row in sorted(metrics)}.values():  # the last step of each, and its greatest value
        yield "latest_metrics", row
