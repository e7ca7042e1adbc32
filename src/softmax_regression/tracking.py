"""The one place that knows MLflow: which store, which run, what is logged."""

import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# MLflow reads it when it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from softmax_regression import project

EXPERIMENT = "softmax-regression"
MODEL_TAG = "model.sha256"


@dataclass(frozen=True)
class Run:
    """One run in the store: one trained model."""

    client: MlflowClient
    run_id: str

    @classmethod
    @contextmanager
    def training(cls, parameters: Mapping[str, object]) -> Iterator[Self]:
        """A new run; when the block is left it is FINISHED, or FAILED where an error ended it."""
        client, experiment_id = _connect()
        name = os.environ.get("DVC_EXP_NAME")
        run = cls(client, client.create_run(experiment_id, run_name=name).info.run_id)
        try:
            client.log_batch(run.run_id, params=[Param(key, str(value)) for key, value in parameters.items()])
            yield run
        except BaseException:
            client.set_terminated(run.run_id, "FAILED")
            raise
        client.set_terminated(run.run_id, "FINISHED")

    @classmethod
    def of_model(cls, model_sha256: str) -> Self:
        """The newest run that trained this very model; a new one, marked as restored, where the store knows none."""
        client, experiment_id = _connect()
        query = f"tags.`{MODEL_TAG}` = '{model_sha256}'"
        found = client.search_runs([experiment_id], query, order_by=["attributes.start_time DESC"], max_results=1)
        if found:
            return cls(client, found[0].info.run_id)
        created = client.create_run(experiment_id, tags={MODEL_TAG: model_sha256, "restored": "true"})
        client.set_terminated(created.info.run_id, "FINISHED")
        return cls(client, created.info.run_id)

    def tag_model(self, model_sha256: str) -> None:
        """Name the model that this run trained; the later stages find the run by it."""
        self.client.set_tag(self.run_id, MODEL_TAG, model_sha256)

    def log_series(self, records: Iterable[Mapping[str, float]], step: str) -> None:
        """Log each record's figures at the step that its key `step` gives; those that are not finite are left out."""
        now = int(time.time() * 1000)
        metrics = [
            Metric(key, value, now, int(record[step]))
            for record in records
            for key, value in record.items()
            if key != step and math.isfinite(value)
        ]
        for start in range(0, len(metrics), 1000):  # the most a call may hold
            self.client.log_batch(self.run_id, metrics[start : start + 1000])

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log single figures."""
        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, [Metric(key, value, now, 0) for key, value in metrics.items()])

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Copy a file to the run's artifacts."""
        self.client.log_artifact(self.run_id, str(path), folder)


def store_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or else a database at the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def _connect() -> tuple[MlflowClient, str]:
    """A client, and the id of the project's experiment, created where it is missing."""
    root = project.root()
    client = MlflowClient(store_uri(root))
    # Of several processes that open a new sqlite store at once, only one may create its tables.
    with FileLock(root / ".mlflow.lock"):
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment:
            return client, experiment.experiment_id
        # Without a location of its own the experiment would keep its files wherever the first run happened to start.
        location = None if os.environ.get("MLFLOW_TRACKING_URI") else (root / "mlartifacts").as_uri()
        return client, client.create_experiment(EXPERIMENT, artifact_location=location)
