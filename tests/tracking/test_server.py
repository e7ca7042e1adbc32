"""The pipeline of a team: two clones, one MLflow server with PostgreSQL that also keeps their files."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import servers
import yaml
from clone import Clone
from mlflow import MlflowClient
from mlflow.entities import Run

from softmax_regression.data.images import ImageSet
from softmax_regression.tracking import journal

EPOCHS = 5
USE_CHAMPION = """
import sys, mlflow, numpy
model = mlflow.pyfunc.load_model("models:/softmax-regression@champion-digits")
numpy.save(sys.argv[2], model.predict(numpy.load(sys.argv[1])))
"""

pytestmark = [pytest.mark.slow, servers.needs_postgresql]


@dataclass(frozen=True)
class Server:
    """Where an MLflow server listens, and the folder in which it keeps the files of the runs."""

    address: str
    files: Path


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with servers.mlflow_server(folder, str(folder / "files")) as address:
        yield Server(address, folder / "files")


@pytest.fixture(scope="module")
def client(mlflow_server: Server) -> MlflowClient:
    return MlflowClient(mlflow_server.address)


@pytest.fixture(scope="module")
def clones(mlflow_server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, Clone]:
    """Two members' clones: one has run the whole pipeline, one has then trained and evaluated a better model."""
    folder = tmp_path_factory.mktemp("team")
    first, second = Clone(folder / "first"), Clone(folder / "second")
    for clone, lr, target in ((first, 0.1, []), (second, 1.0, ["evaluate"])):
        clone.set_parameters(dataset="digits", epochs=EPOCHS, lr=lr)
        output = clone.run("dvc", "repro", *target, MLFLOW_TRACKING_URI=mlflow_server.address)
        assert "warning" not in output, output
        assert "??" not in clone.run("git", "status", "--porcelain")  # no database of its own in the project
    return first, second


@pytest.fixture(scope="module")
def runs(client: MlflowClient, clones: tuple[Clone, Clone]) -> list[Run]:
    """What the server has for each clone, in their order."""
    assert clones
    experiment = client.get_experiment_by_name("softmax-regression")
    assert experiment
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])


def test_the_server_has_a_complete_run(client: MlflowClient, clones: tuple[Clone, Clone], runs: list[Run]) -> None:
    clone, run = clones[0], runs[0]
    parameters = yaml.safe_load((clone.folder / "params.yaml").read_text())
    assert run.data.params == {name: str(value) for name, value in parameters.items()}
    history = client.get_metric_history(run.info.run_id, "valid_cost")
    with (clone.folder / "metrics/costs.csv").open() as file:
        costs = [float(row["valid_cost"]) for row in csv.DictReader(file)]
    assert [point.value for point in sorted(history, key=lambda point: point.step)] == costs
    assert len(costs) == EPOCHS
    assert run.data.metrics["test_accuracy"] == accuracy_of(clone)
    stages = [name for name in run.data.tags if name.startswith("status.")]
    assert sorted(stages) == ["status.evaluate", "status.train", "status.visualize"]
    assert {run.info.status, *(run.data.tags[name] for name in stages)} == {"FINISHED"}
    downloaded = yaml.safe_load((clone.folder / "dvc.lock").read_text())["stages"]["download"]["outs"]
    assert run.inputs
    assert {given.dataset.digest for given in run.inputs.dataset_inputs} == {
        out["md5"] for out in downloaded if out["path"].endswith(".safetensors")
    }


def test_its_files_go_through_the_server(
    client: MlflowClient, mlflow_server: Server, clones: tuple[Clone, Clone], runs: list[Run], tmp_path: Path
) -> None:
    clone, run = clones[0], runs[0]
    assert run.info.artifact_uri == f"mlflow-artifacts:/{run.info.experiment_id}/{run.info.run_id}/artifacts"
    kept = mlflow_server.files / run.info.experiment_id / run.info.run_id / "artifacts"
    client.download_artifacts(run.info.run_id, "", str(tmp_path))
    figures = sorted((clone.folder / "figures").glob("*.png"))
    assert len(figures) == 7
    for original in [*figures, clone.folder / "params.yaml"]:
        name = original.relative_to(clone.folder)
        assert (tmp_path / name).read_bytes() == (kept / name).read_bytes() == original.read_bytes()
    costs = (clone.folder / "metrics/costs.csv").read_bytes()
    assert (tmp_path / "costs.csv").read_bytes() == costs
    assert {path.name for path in tmp_path.iterdir()} > {"dvc.lock", "requirements.lock"}


def test_nothing_is_kept_beside_the_code(clones: tuple[Clone, Clone]) -> None:
    for clone in clones:
        assert not list(clone.folder.glob("ml*"))
        assert not journal.events(clone.folder)


def test_a_second_clone_adds_its_run_and_its_better_model_becomes_the_champion(
    client: MlflowClient, clones: tuple[Clone, Clone], runs: list[Run]
) -> None:
    assert [run.data.params["lr"] for run in runs] == ["0.1", "1.0"]
    assert runs[1].data.metrics["test_accuracy"] == accuracy_of(clones[1]) > accuracy_of(clones[0])
    versions = {version.run_id: version.version for version in client.search_model_versions()}
    assert versions.keys() == {run.info.run_id for run in runs}
    champion = client.get_model_version_by_alias("softmax-regression", "champion-digits")
    assert champion.version == versions[runs[1].info.run_id]


def test_a_model_has_the_metrics_of_its_test_and_none_of_its_training(client: MlflowClient, runs: list[Run]) -> None:
    models = client.search_logged_models([runs[0].info.experiment_id])
    assert {model.source_run_id for model in models} == {run.info.run_id for run in runs}
    for run in runs:
        (model,) = (model for model in models if model.source_run_id == run.info.run_id)
        tested = {name: value for name, value in run.data.metrics.items() if not name.startswith(("train_", "valid_"))}
        assert {metric.key: metric.value for metric in model.metrics or []} == tested
        assert len(client.get_metric_history(run.info.run_id, "test_accuracy")) == 1


def test_the_champion_is_loaded_from_the_server_and_answers(
    clones: tuple[Clone, Clone], mlflow_server: Server, tmp_path: Path
) -> None:
    test = ImageSet.load(clones[1].folder / "data/test.safetensors")
    np.save(tmp_path / "images.npy", test.images)
    arguments = (USE_CHAMPION, tmp_path / "images.npy", tmp_path / "probabilities.npy")
    environment = {**clones[1].environment, "MLFLOW_TRACKING_URI": mlflow_server.address}
    subprocess.run([sys.executable, "-c", *arguments], cwd=tmp_path, env=environment, check=True)
    probabilities = np.load(tmp_path / "probabilities.npy")
    assert (probabilities.argmax(axis=1) == test.labels).mean() == accuracy_of(clones[1])


def test_make_ui_opens_the_servers_table(clones: tuple[Clone, Clone], mlflow_server: Server, runs: list[Run]) -> None:
    output = clones[1].run(
        *("python", "-m", "softmax_regression.tools.command", "ui"),
        PYTHONPATH="src",
        BROWSER="echo opened %s",
        MLFLOW_TRACKING_URI=mlflow_server.address,
    )
    address = f"{mlflow_server.address}/#/experiments/{runs[0].info.experiment_id}/runs"
    address += "?workflowType=machine_learning&viewStateShareKey=pipeline"
    assert output.splitlines()[-2:] == [f"The table of runs: {address}", f"opened {address}"]
    assert "No run is recorded yet" not in output


def accuracy_of(clone: Clone) -> float:
    accuracy: float = json.loads((clone.folder / "metrics/test.json").read_text())["accuracy"]
    return accuracy
