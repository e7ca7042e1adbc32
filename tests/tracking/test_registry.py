"""One version for each distinct model, and a champion that only a model replaces that is better beyond chance."""

import json
import re
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


def trained(
    project: Project,
    value: float,
    costs: np.ndarray,
    held_out: str = "6 of d1",
    dataset: str = "mnist",
    keep: bool = True,
) -> str:
    """Train and evaluate a model whose weights are all `value`; return what was said of the champion."""
    path = project.root / "softmax.safetensors"
    weights.write(path, np.full((3, 16), value, np.float32), np.arange(3, dtype=np.float32))
    sha256 = files.sha256(path)
    project.record(project.event("train", model=sha256))
    event = project.event("evaluate", model=sha256)
    if keep:
        (project.root / "costs").mkdir(exist_ok=True)
        np.save(project.root / "costs" / registry.COSTS, costs.astype(np.float32))
        event.keep(project.root / "costs" / registry.COSTS)
    event.add_model(path, IMAGES[:2], 3, dataset, held_out, float(costs.mean()))
    return project.record(event).data.tags["champion"]


COSTS = np.array([0.5, 0.1, 0.0, 2.0, 0.3, 0.25])
CHEAPER = COSTS - np.array([0.125, 0.0625, 0.0625, 0.125, 0.125, 0.0625])
"""By 0.09375 in the mean, with a standard error of 0.01398, whose 1.96 times is 0.02739."""
CHEAPEST = CHEAPER - np.array([0.0625, 0.0625, 0.125, 0.0625, 0.125, 0.125])
LUCKY = COSTS - np.array([1.0, -0.4, -0.4, 0.1, -0.1, 0.1])
"""By 0.05 in the mean, for one image's sake."""


def without_figures(said: str) -> str:
    return re.sub(r"[\d.]+ ± [\d.]+ nats a held-out image ", "", said)


def champion(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias(registry.MODEL_NAME, "champion").version)


def test_only_a_model_that_is_better_beyond_chance_on_the_same_held_out_images_takes_over(project: Project) -> None:
    assert trained(project, 0.1, COSTS) == "takes over: the first on mnist"
    worse = "stays: 0.09375 ± 0.02739 nats a held-out image worse than run-1's"
    assert trained(project, 0.2, COSTS + (COSTS - CHEAPER)) == worse
    assert trained(project, 0.3, LUCKY).startswith("stays: 0.05000 ± 0.")
    other = "for which other images were held out (6 of d1, not 6 of d2)"
    assert trained(project, 0.4, CHEAPER, held_out="6 of d2") == f"stays: not comparable with run-1's, {other}"
    assert champion(project.client) == "1"
    better = "takes over: 0.09375 ± 0.02739 nats a held-out image better than run-1's"
    assert trained(project, 0.5, CHEAPER) == better
    assert champion(project.client) == "5"

    assert trained(project, 0.5, CHEAPER) == "is version 5 already"
    versions = project.client.search_model_versions(f"name = '{registry.MODEL_NAME}'")
    assert sorted(str(version.version) for version in versions) == ["1", "2", "3", "4", "5"]
    assert len(project.client.search_logged_models([project.runs()[0].info.experiment_id])) == 5
    assert all(run.outputs and run.outputs.model_outputs for run in project.runs())


def test_each_data_set_has_a_champion_of_its_own(project: Project) -> None:
    assert trained(project, 0.1, COSTS, "6 of d2", dataset="digits") == "takes over: the first on digits"
    assert trained(project, 0.2, COSTS, dataset="mnist") == "takes over: the first on mnist"
    assert champion(project.client) == "2"
    digits = project.client.get_model_version_by_alias(registry.MODEL_NAME, "champion-digits")
    assert str(digits.version) == "1"


def test_a_champion_whose_costs_are_gone_stays_and_it_is_said(project: Project) -> None:
    trained(project, 0.1, COSTS, keep=False)
    said = "stays: not comparable with run-1's: the costs of the held-out images are gone"
    assert trained(project, 0.2, CHEAPER) == said
    assert champion(project.client) == "1"


def test_a_champion_of_the_time_before_there_were_costs_stays_and_it_is_said(project: Project) -> None:
    trained(project, 0.1, COSTS)
    for tag in (registry.HELD_OUT_TAG, registry.RUN_TAG):
        project.client.delete_model_version_tag(registry.MODEL_NAME, "1", tag)
    assert trained(project, 0.2, CHEAPER).startswith("stays: not comparable with version 1's, for which other images")


@pytest.mark.parametrize(
    ("own", "said", "others", "others_said", "crowned"),
    [
        (CHEAPER, "stays: worse than run-101's", CHEAPEST, "takes over: better than run-1's", 3),
        (CHEAPEST, "takes over: better than run-1's", CHEAPER, "stays: worse than run-3's", 2),
    ],
)
def test_of_two_machines_that_judge_at_once_the_better_model_stays_champion(
    project: Project,
    tmp_path: Path,
    own: np.ndarray,
    said: str,
    others: np.ndarray,
    others_said: str,
    crowned: int,
) -> None:
    trained(project, 0.1, COSTS)
    other = Project(tmp_path / "other", MlflowClient(project.client.tracking_uri), project.experiment)
    other.count = 100  # names of its own

    class Overtaken(MlflowClient):
        """Between its look at the champion and its setting the alias, the other machine does both."""

        def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
            if other.count == 100:
                assert without_figures(trained(other, 0.3, others)) == others_said
            super().set_registered_model_alias(name, alias, version)

    project.client = Overtaken(project.client.tracking_uri)
    assert without_figures(trained(project, 0.2, own)) == said
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
    trained(project, 0.01, COSTS)
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
    trained(project, 0.1, COSTS)
    names = [path.name for path in (project.root / "mlartifacts/models").rglob("*") if path.is_file()]
    assert "softmax.safetensors" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]
    model = mlflow.models.get_model_info("models:/softmax-regression@champion")
    assert model.signature is not None
    assert model.signature.inputs.input_types() == [np.dtype(np.uint8)]
    assert model.flavors["python_function"]["loader_module"] == registry.SERVING_MODULE
