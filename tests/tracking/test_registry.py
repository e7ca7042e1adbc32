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
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND, INTERNAL_ERROR, RESOURCE_DOES_NOT_EXIST

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
    figures = "0.09375 ± 0.02739 nats a held-out image"
    assert trained(project, 0.2, COSTS + (COSTS - CHEAPER)) == f"run-1 stays: this model is {figures} worse"
    lucky = trained(project, 0.3, LUCKY)
    assert re.fullmatch(
        r"run-1 stays: this model is 0.05000 ± 0.4\d+ .* better, which chance alone could explain", lucky
    )
    assert trained(project, 0.35, COSTS) == "run-1 stays: equally good"
    other = "other images were held out for it (6 of d1, not 6 of d2)"
    assert trained(project, 0.4, CHEAPER, held_out="6 of d2") == f"run-1 stays: {other}"
    assert champion(project.client) == "1"
    assert trained(project, 0.5, CHEAPER) == f"takes over: {figures} better than run-1"
    assert champion(project.client) == "6"

    assert trained(project, 0.5, CHEAPER) == "is champion already, as version 6"
    versions = project.client.search_model_versions(f"name = '{registry.MODEL_NAME}'")
    assert sorted(str(version.version) for version in versions) == ["1", "2", "3", "4", "5", "6"]
    assert len(project.client.search_logged_models([project.runs()[0].info.experiment_id])) == 6
    assert all(run.outputs and run.outputs.model_outputs for run in project.runs())


def test_evaluated_again_a_run_keeps_what_was_said_when_its_model_took_over(project: Project) -> None:
    trained(project, 0.1, COSTS)
    trained(project, 0.2, CHEAPER)
    (run,) = (run for run in project.runs() if "better than run-1" in run.data.tags["champion"])
    event = project.event("evaluate", model=run.data.tags["model.sha256"])
    event.add_model(project.root / "softmax.safetensors", IMAGES[:2], 3, "mnist", "6 of d1", float(CHEAPER.mean()))
    assert project.record(event).data.tags["champion"] == run.data.tags["champion"]


def test_each_data_set_has_a_champion_of_its_own(project: Project) -> None:
    assert trained(project, 0.1, COSTS, "6 of d2", dataset="digits") == "takes over: the first on digits"
    assert trained(project, 0.2, COSTS, dataset="mnist") == "takes over: the first on mnist"
    assert champion(project.client) == "2"
    digits = project.client.get_model_version_by_alias(registry.MODEL_NAME, "champion-digits")
    assert str(digits.version) == "1"


NAMES = [
    "own/my photos.zip",
    "own/my-photos.zip",
    "own/My photos.zip",
    "写真/犬",
    "a--b",
    "latest",
    "v1",
    300 * "x",
    "$:@",
]


def test_each_name_gives_an_alias_that_mlflow_takes_and_no_other_name_has(project: Project) -> None:
    assert registry.champion_alias("fashion_mnist") == "champion-fashion_mnist"
    assert re.fullmatch(r"champion-own-my-photos-zip--[0-9a-f]{12}", registry.champion_alias(NAMES[0]))
    trained(project, 0.1, COSTS, dataset=NAMES[0])
    for name in NAMES:
        alias = registry.champion_alias(name)
        project.client.set_registered_model_alias(registry.MODEL_NAME, alias, "1")
        found = registry.find_version(project.client, f"models:/{registry.MODEL_NAME}@{alias}")
        assert str(found.version) == "1"
    assert registry.champion_alias(NAMES[0]) != registry.champion_alias(registry.champion_alias(NAMES[0])[9:])
    assert len({registry.champion_alias(name).lower() for name in NAMES}) == len(NAMES)


@pytest.mark.parametrize("damage", [None, b"", b"\x93NUMPY", np.arange(5.0)])
def test_a_champion_whose_costs_are_gone_or_damaged_stays_and_it_is_said(project: Project, damage: object) -> None:
    trained(project, 0.1, COSTS, keep=damage is not None)
    (path,) = [*project.root.glob(f"mlartifacts/*/artifacts/{registry.COSTS}")] or [project.root / "none"]
    if isinstance(damage, np.ndarray):
        np.save(path, damage)
    elif isinstance(damage, bytes):
        path.write_bytes(damage)
    assert trained(project, 0.2, CHEAPER) == "run-1 stays: the costs of the held-out images are gone"
    assert champion(project.client) == "1"


def test_costs_that_cannot_be_had_for_now_are_not_taken_for_gone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(project, 0.1, COSTS)

    def refuse(*_: object) -> None:
        raise MlflowException("timed out", error_code=INTERNAL_ERROR)

    def fail(*_: object, **__: object) -> None:  # as MLflow tells of a download that times out
        raise MlflowException("timed out", error_code=RESOURCE_DOES_NOT_EXIST)

    for name, how in (("list_artifacts", refuse), ("download_artifacts", fail)):
        with monkeypatch.context() as outage, pytest.raises(Exception, match="timed out") as raised:
            outage.setattr(MlflowClient, name, how)
            trained(project, 0.2, CHEAPER)
        assert not runs.is_refusal(raised.value)
    assert trained(project, 0.2, CHEAPER).startswith("takes over: 0.09375")


@pytest.mark.parametrize("version", ["2.22.5", "3.17.2"])
def test_an_old_server_takes_all_but_the_model_and_a_proxy_that_finds_no_server_is_an_outage(
    version: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("404 Not Found", error_code=ENDPOINT_NOT_FOUND)

    monkeypatch.setattr(MlflowClient, "search_logged_models", refuse)
    monkeypatch.setattr(runs, "_server_version", lambda _: version)
    if version.startswith("3"):
        with pytest.raises(MlflowException, match="404"):
            trained(project, 0.1, COSTS)
    else:
        said = "not registered: this server is older than MLflow 3, and knows no models of runs"
        assert trained(project, 0.1, COSTS) == said
        assert [run.info.status for run in project.runs()] == ["FINISHED"]


def test_one_held_out_image_tells_nothing(project: Project) -> None:
    trained(project, 0.1, COSTS[:1])
    assert trained(project, 0.2, CHEAPER[:1]) == "run-1 stays: one held-out image cannot tell which model is better"


def test_versions_of_the_time_before_there_were_costs_are_no_obstacle(project: Project) -> None:
    trained(project, 0.1, COSTS)
    trained(project, 0.2, COSTS)
    for version in ("1", "2"):
        for tag in (registry.HELD_OUT_TAG, registry.VALID_COST_TAG, registry.RUN_TAG):
            project.client.delete_model_version_tag(registry.MODEL_NAME, version, tag)
    unknown = "version 1 stays: other images were held out for it (None, not 6 of d1)"
    assert trained(project, 0.2, COSTS) == unknown  # known by its weights, it has no costs to be compared by
    assert trained(project, 0.3, CHEAPER) == unknown
    same = "takes over: the same model as version 1, which has no costs of held-out images"
    project.client.set_model_version_tag(registry.MODEL_NAME, "4", registry.VALID_COST_TAG, "9")  # 0.3, the better one
    assert trained(project, 0.1, COSTS) == same


@pytest.mark.parametrize(
    ("own", "said", "others", "others_said", "crowned"),
    [
        (CHEAPER, "run-101 stays: this model is worse", CHEAPEST, "takes over: better than run-1", 3),
        (CHEAPEST, "takes over: better than run-1", CHEAPER, "run-3 stays: this model is worse", 2),
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
import sys, mlflow, numpy as np, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/softmax-regression@champion")
images = np.load(sys.argv[2])
print([model.predict(images[:count]).tolist() for count in (1, 2, 7)])
rows = images.reshape(7, -1)
for form in (images / 255, rows, pandas.DataFrame(rows), pandas.DataFrame(rows / 255)):
    np.testing.assert_allclose(model.predict(form), model.predict(images), rtol=1e-6)
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
    assert model.signature.outputs.input_types() == [np.dtype(np.float32)]
    assert model.flavors["python_function"]["loader_module"] == registry.SERVING_MODULE
