"""One version for each distinct model, and a champion that only a better one replaces."""

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
from events import Project
from mlflow import MlflowClient

from softmax_regression.base import files
from softmax_regression.data import weights
from softmax_regression.tracking import registry, runs

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 4, 4), dtype=np.uint8)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Project(tmp_path, runs.connect(tmp_path), "registry")


def trained(project: Project, value: float, accuracy: float, data: str = "d1", dataset: str = "mnist") -> str:
    """Train and evaluate a model whose weights are all `value`; return what was said of the champion."""
    path = project.root / "softmax.safetensors"
    weights.write(path, np.full((3, 16), value, np.float32), np.arange(3, dtype=np.float32))
    sha256 = files.sha256(path)
    project.record(project.event("train", model=sha256))
    event = project.event("evaluate", model=sha256)
    event.add_model(path, IMAGES[:2], 3, dataset, data, accuracy)
    return project.record(event).data.tags["champion"]


def champion(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias(registry.MODEL_NAME, "champion").version)


def test_the_alias_moves_only_to_a_model_that_is_better_on_the_same_data(project: Project) -> None:
    assert trained(project, 0.1, 0.90) == "yes: version 1 is the first"
    assert trained(project, 0.2, 0.90) == "no: accuracy 0.9 does not beat version 1's 0.9"
    assert trained(project, 0.3, 0.99, data="other") == "no: version 1 was tested on other data"
    assert champion(project.client) == "1"
    assert trained(project, 0.4, 0.91) == "yes: accuracy 0.91 beats version 1's 0.9"
    assert champion(project.client) == "4"

    assert trained(project, 0.4, 0.91) == "yes: it is version 4"
    versions = project.client.search_model_versions(f"name = '{registry.MODEL_NAME}'")
    assert sorted(str(version.version) for version in versions) == ["1", "2", "3", "4"]
    assert len(project.client.search_logged_models([project.runs()[0].info.experiment_id])) == 4
    assert all(run.outputs and run.outputs.model_outputs for run in project.runs())


def test_each_data_set_has_a_champion_of_its_own(project: Project) -> None:
    assert trained(project, 0.1, 0.99, data="d2", dataset="digits") == "yes: version 1 is the first"
    assert trained(project, 0.2, 0.90, dataset="mnist") == "yes: version 2 is the first"
    assert champion(project.client) == "2"
    digits = project.client.get_model_version_by_alias(registry.MODEL_NAME, "champion-digits")
    assert str(digits.version) == "1"


@pytest.mark.parametrize(
    ("accuracy", "said", "others", "others_said", "crowned"),
    [
        (0.91, "no: accuracy 0.91 does not beat version 3's 0.92", 0.92, "yes: accuracy 0.92 beats version 1's 0.9", 3),
        (0.92, "yes: accuracy 0.92 beats version 1's 0.9", 0.91, "no: accuracy 0.91 does not beat version 2's 0.92", 2),
    ],
)
def test_of_two_machines_that_judge_at_once_the_better_model_stays_champion(
    project: Project, tmp_path: Path, accuracy: float, said: str, others: float, others_said: str, crowned: int
) -> None:
    trained(project, 0.1, 0.90)
    other = Project(tmp_path / "other", MlflowClient(project.client.tracking_uri), project.experiment)

    class Overtaken(MlflowClient):
        """Between its look at the champion and its setting the alias, the other machine does both."""

        def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
            if not other.count:
                assert trained(other, 0.3, others) == others_said
            super().set_registered_model_alias(name, alias, version)

    project.client = Overtaken(project.client.tracking_uri)
    assert trained(project, 0.2, accuracy) == said
    assert champion(project.client) == str(crowned)


ELSEWHERE = """
import sys, mlflow, numpy as np
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/softmax-regression@champion")
images = np.load(sys.argv[2])
print([model.predict(images[:count]).tolist() for count in (1, 2, 7)])
import softmax_serving
assert softmax_serving.__file__.startswith(sys.argv[3]), softmax_serving.__file__
assert not {"torch", "softmax_regression"} & sys.modules.keys()
"""


def test_the_model_loads_without_the_project_and_answers_any_number_of_images(project: Project) -> None:
    trained(project, 0.01, 0.9)
    np.save(project.root / "images.npy", IMAGES)
    arguments = [f"sqlite:///{project.root / 'mlflow.db'}", str(project.root / "images.npy"), str(project.root)]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *arguments], cwd=project.root, check=True, capture_output=True, text=True
    )
    answers = json.loads(done.stdout)
    logits = IMAGES.reshape(7, -1).sum(axis=1, keepdims=True) / 255 * 0.01 + np.arange(3)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for count, answer in zip((1, 2, 7), answers, strict=True):
        np.testing.assert_allclose(answer, expected[:count], rtol=1e-5)


def test_nothing_about_the_model_is_pickled(project: Project) -> None:
    trained(project, 0.1, 0.9)
    names = [path.name for path in (project.root / "mlartifacts/models").rglob("*") if path.is_file()]
    assert "softmax.safetensors" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]
    model = mlflow.models.get_model_info("models:/softmax-regression@champion")
    assert model.signature is not None
    assert model.signature.inputs.input_types() == [np.dtype(np.uint8)]
    assert model.flavors["python_function"]["loader_module"] == registry.SERVING_MODULE
