"""The runs in MLflow, and which of them an event belongs to.

Recording an event again changes nothing, so that whatever was interrupted is simply done again.
"""

import json
import os
import tempfile
from pathlib import Path

# MLflow reads these when it is imported. By default it would wait four minutes and more for a server that is down.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from softmax_regression.base.files import replacing
from softmax_regression.tracking import registry
from softmax_regression.tracking.children import record_children
from softmax_regression.tracking.event import Event, EventModel
from softmax_regression.tracking.locks import locked
from softmax_regression.tracking.relocation import bring_along
from softmax_regression.tracking.store import is_remote, own_database, tracking_uri

EVENT_TAG = "journal.event"
STORE_LOCK = ".mlflow.lock"
ARTIFACTS = "mlartifacts"
EXPERIMENT_TAGS = {
    # Without it MLflow's page opens in its mode for language models, with no metric in sight.
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "Softmax regression: a run for each training, with its cost by epoch, figures and pictures.",
}
METRICS_A_CALL = 1000
"""The most that MLflow takes."""
REFUSALS = ("INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST")
WORST_FIRST = ("FAILED", "KILLED", "RUNNING", "FINISHED")


def is_refusal(error: Exception) -> bool:
    """Whether it is the event's fault, or that of what it is to be added to, and not one of the moment."""
    if isinstance(error, MlflowException):
        return error.error_code in REFUSALS
    return isinstance(error, TypeError | KeyError | AttributeError)  # by other code, or damaged


def record(client: MlflowClient, event: Event, root: Path) -> str:
    """Bring the run that an event belongs to up to date with it; return the run's id, "none" where there is no run."""
    experiment_id = ensure_experiment(client, event.experiment, root)
    run = find_run(client, experiment_id, event) or _create_run(client, experiment_id, event)
    if run is None or run.info.lifecycle_stage == "deleted":
        return "none"
    run_id = run.info.run_id

    record_children(client, run, event)
    log_metrics(client, run_id, event)
    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in event.parameters.items()])
    if event.inputs:  # MLflow 2 refuses an empty list
        client.log_inputs(run_id, [_dataset_input(**given) for given in event.inputs])
    if (event.folder / "artifacts").is_dir():
        client.log_artifacts(run_id, str(event.folder / "artifacts"))
    tags = {**event.tags, f"status.{event.stage}": event.status}
    if event.model_sha256:
        tags[registry.MODEL_TAG] = event.model_sha256
    if event.ended:
        tags[f"seconds.{event.stage}"] = f"{(event.ended - event.started) / 1000:.3f}"
    if event.starts_run and event.status == "FINISHED":
        tags |= _take_over(client, run, event)
    if event.model:
        with locked(root / STORE_LOCK):  # one champion at a time
            said = _register(client, run, event, event.model)
        # What was said when it took over has the figures; evaluated again, it is merely champion already.
        if not said.startswith("is champion already") or "champion" not in run.data.tags:
            tags["champion"] = said
    client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    _set_status(client, run_id, {**run.data.tags, **tags}, event.ended)
    return run_id


def _register(client: MlflowClient, run: Run, event: Event, model: EventModel) -> str:
    try:
        return registry.register(client, run, event, model)
    except MlflowException as error:
        if error.error_code != "ENDPOINT_NOT_FOUND" or not _server_version(client).startswith("2."):
            raise
        return "not registered: this server is older than MLflow 3, and knows no models of runs"


def _server_version(client: MlflowClient) -> str:
    return http_request(get_default_host_creds(client.tracking_uri), "/version", "GET").text


def find_run(client: MlflowClient, experiment_id: str, event: Event) -> Run | None:
    """The run that an event belongs to; the one place that holds the rule.

    The event that starts a run finds its own. Any other belongs to the run that trained the model, by the SHA-256 of
    its file: of several, one of the same DVC experiment, then the newest.
    """
    if event.starts_run:
        own = f"tags.`{EVENT_TAG}` = '{event.folder.name}'"
        return next(iter(client.search_runs([experiment_id], own, ViewType.ALL)), None)
    query = f"tags.`{registry.MODEL_TAG}` = '{event.model_sha256}'"
    found = client.search_runs([experiment_id], query, order_by=["attributes.start_time DESC"])
    same = [run for run in found if run.data.tags.get("dvc.experiment") == event.tags.get("dvc.experiment")]
    return next(iter([*same, *found]), None)


def connect(root: Path) -> MlflowClient:
    """A client of a store that answers."""
    uri = tracking_uri(root)
    mlflow.set_tracking_uri(uri)
    # Of several processes that open a new database at once, only one may create its tables.
    with locked(root / STORE_LOCK):
        database = own_database(root)
        if database and not database.exists():
            # Under its name once it is whole: MLflow cannot go on with tables that a full disk or a kill cut short.
            with replacing(database) as temporary:
                MlflowClient(f"sqlite:///{temporary}").search_experiments(max_results=1)
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
        if database:
            bring_along(database, root / ARTIFACTS)
    return client


def ensure_experiment(client: MlflowClient, name: str, root: Path) -> str:
    """The id of an experiment, created where it is missing and restored where it was deleted."""
    with locked(root / STORE_LOCK):
        experiment = client.get_experiment_by_name(name)
        if experiment:
            if experiment.lifecycle_stage == "deleted":  # MLflow would refuse every run in it
                client.restore_experiment(experiment.experiment_id)
            for tag in EXPERIMENT_TAGS.keys() - experiment.tags.keys():
                client.set_experiment_tag(experiment.experiment_id, tag, EXPERIMENT_TAGS[tag])
            return str(experiment.experiment_id)
        # Without a location of its own the experiment would keep its files wherever the first run happened to start.
        location = None if is_remote(root) else (root / ARTIFACTS).as_uri()
        return str(client.create_experiment(name, location, EXPERIMENT_TAGS))


def _take_over(client: MlflowClient, run: Run, event: Event) -> dict[str, str]:
    """Complete a run that trained a model anew which an earlier run knows; return the tags to add.

    DVC does not evaluate or draw an unchanged model again: nothing else would bring test metrics and figures.
    """
    query = f"tags.`{registry.MODEL_TAG}` = '{event.model_sha256}' and metrics.test_accuracy >= 0"
    found = client.search_runs([run.info.experiment_id], query, order_by=["attributes.start_time DESC"])
    if not found or found[0].info.run_id == run.info.run_id:
        return {}
    earlier = found[0]
    for name in earlier.data.metrics.keys() - {metric[0] for metric in event.metrics}:
        history = client.get_metric_history(earlier.info.run_id, name)
        client.log_batch(run.info.run_id, [Metric(name, each.value, each.timestamp, each.step) for each in history])
    client.log_inputs(run.info.run_id, earlier.inputs.dataset_inputs if earlier.inputs else [])
    registry.link(client, run.info.run_id, earlier)
    with tempfile.TemporaryDirectory() as folder:
        for name in {file.path for file in client.list_artifacts(earlier.info.run_id)} & {"figures", registry.COSTS}:
            registry.download(client, earlier.info.run_id, name, folder)
        client.log_artifacts(run.info.run_id, folder)
    tags = {name: value for name, value in earlier.data.tags.items() if name.startswith(("status.", "champion"))}
    return {**tags, f"status.{event.stage}": event.status, "evaluated.in": earlier.info.run_id}


def _create_run(client: MlflowClient, experiment_id: str, event: Event) -> Run | None:
    """A new run. A model that no run knows was restored from a cache or a remote; no model, nothing to tell."""
    if not event.starts_run and event.model_sha256 is None:
        return None
    tags = (
        {EVENT_TAG: event.folder.name}
        if event.starts_run
        else {"restored": "true", registry.MODEL_TAG: str(event.model_sha256)}
    )
    return client.create_run(experiment_id, event.started, tags, event.run_name)


def log_metrics(client: MlflowClient, run_id: str, event: Event) -> None:
    """Log the metrics that this store does not have yet."""
    metrics = [Metric(*metric) for metric in event.metrics]
    for start in range(event.recorded("metrics", client.tracking_uri), len(metrics), METRICS_A_CALL):
        client.log_batch(run_id, metrics[start : start + METRICS_A_CALL])
        event.note_recorded("metrics", client.tracking_uri, min(start + METRICS_A_CALL, len(metrics)))


def _dataset_input(name: str, digest: str, source: str, context: str) -> DatasetInput:
    kind = "http" if json.loads(source)["url"].startswith("http") else "local"
    return DatasetInput(Dataset(name, digest, kind, source), [InputTag("mlflow.data.context", context)])


def _set_status(client: MlflowClient, run_id: str, tags: dict[str, str], ended: int | None) -> None:
    """A run is as well as the worst of its stages."""
    statuses = {value for name, value in tags.items() if name.startswith("status.")}
    status = next(status for status in WORST_FIRST if status in statuses)
    if status == "RUNNING":
        client.update_run(run_id, status)
    else:
        client.set_terminated(run_id, status, ended)
