"""The pipeline on scattering features: from the stage to whoever answers with the model."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
from browsers import chromium, needs_browser, probabilities_on
from clone import Clone
from PIL import Image

from softmax_regression.base.files import read_csv, sha256
from softmax_regression.data.images import ImageSet
from softmax_regression.pictures import reading
from softmax_regression.prediction.classifier import Classifier

ELSEWHERE = """
import sys, mlflow, numpy as np
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
np.save(sys.argv[3] + "/answers.npy", model.predict(np.load(sys.argv[3] + "/images.npy")))
assert not {"torch", "softmax_regression"} & sys.modules.keys()
from softmax_regression.data.images import ImageSet
"""
"""What goes along with the model is enough, and is not taken for the project itself."""


@pytest.fixture(scope="module")
def scattered(trained: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the model was trained on the digits' features."""
    clone = trained.copy(tmp_path_factory.mktemp("features") / "clone")
    clone.set_parameters(features="scattering", epochs=5)
    clone.run("dvc", "repro")
    return clone


def images_of(clone: Clone) -> np.ndarray:
    return ImageSet.load(clone.folder / "data/test.safetensors").images


def test_the_model_is_given_features_and_is_better(scattered: Clone, trained: Clone) -> None:
    test = ImageSet.load(scattered.folder / "data/test.safetensors")
    assert test.with_features(scattered.folder / "features/test.safetensors").model_shape == (10, 324)
    found, before = (
        json.loads((clone.folder / "metrics/test.json").read_text())["accuracy"] for clone in (scattered, trained)
    )
    assert found > before + 0.1


def test_whoever_answers_answers_as_the_evaluation(scattered: Clone, tmp_path: Path) -> None:
    images = images_of(scattered)
    predictions = read_csv(scattered.folder / "metrics/predictions.csv", ["predicted", "probability"])
    expected = np.array([float(text) for text in predictions["probability"]])

    classifier = Classifier.load(scattered.folder / "models/softmax.safetensors")
    probabilities = classifier.probabilities(images)
    np.testing.assert_allclose(probabilities.max(1), expected, atol=1e-6)

    client = mlflow.MlflowClient(f"sqlite:///{scattered.folder / 'mlflow.db'}")
    (run,) = client.search_runs(
        [experiment.experiment_id for experiment in client.search_experiments()], "params.features = 'scattering'"
    )
    assert run.outputs
    np.save(tmp_path / "images.npy", images)
    address = f"models:/{run.outputs.model_outputs[0].model_id}"
    arguments = [f"sqlite:///{scattered.folder / 'mlflow.db'}", address, str(tmp_path)]
    subprocess.run([sys.executable, "-c", ELSEWHERE, *arguments], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), probabilities, atol=1e-5)

    path = tmp_path / "digit.png"
    Image.fromarray(255 - images[0]).resize((80, 80)).save(path)
    said = json.loads(scattered.run("softmax", "predict", "--json", str(path)))
    assert said["probabilities"] == classifier.answer(reading.read(path, in_colour=False)).as_json()["probabilities"]


@needs_browser
def test_the_page_answers_as_the_evaluation(scattered: Clone) -> None:
    classifier, images = Classifier.load(scattered.folder / "models/softmax.safetensors"), images_of(scattered)[:20]
    with chromium() as browser, browser.new_page() as page:
        page.goto((scattered.folder / "figures/draw.html").as_uri())
        assert classifier.standardisation
        given = classifier.standardisation.transform(images)
        np.testing.assert_allclose(probabilities_on(page, given), classifier.probabilities(images), atol=1e-12)


def test_a_search_on_features_trains_what_the_pipeline_does(scattered: Clone, tmp_path: Path) -> None:
    clone = scattered.copy(tmp_path / "clone")
    search = {"lr": "[0.1, 0.2]", "lr_schedule": "linear", "momentum": 0.9, "weight_decay": 0, "seed": 0}
    clone.set_parameters("search/search.yaml", **search, epochs=5, rungs="[]")
    clone.run("dvc", "repro", "search/dvc.yaml")
    rows = read_csv(clone.folder / "search/results.csv", ["lr", "sha256"])
    assert rows["sha256"][rows["lr"].index("0.1")] == sha256(scattered.folder / "models/softmax.safetensors")


def test_other_validation_images_make_other_features_and_other_epochs_do_not(scattered: Clone, tmp_path: Path) -> None:
    clone = scattered.copy(tmp_path / "clone")
    clone.set_parameters(epochs=4)
    assert json.loads(clone.run("dvc", "status", "--json", "dvc.yaml")).keys() == {"train"}
    clone.set_parameters(validation=0.2)
    assert "features" in json.loads(clone.run("dvc", "status", "--json", "dvc.yaml"))


def test_a_training_does_not_go_on_from_one_on_other_features(scattered: Clone, tmp_path: Path) -> None:
    clone = scattered.copy(tmp_path / "clone")
    clone.set_parameters(epochs=100_000)
    with subprocess.Popen(
        ["sh", "stages/run", "stages/train.py"], cwd=clone.folder, env=clone.environment, stdout=subprocess.DEVNULL
    ) as training:
        while not list((clone.folder / ".checkpoints").glob("*.safetensors")):
            assert training.poll() is None
            time.sleep(0.1)
        training.kill()
    features = clone.folder / "features/train.safetensors"
    with features.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    clone.set_parameters(epochs=1)
    (kept,) = (clone.folder / ".checkpoints").glob("*.safetensors")
    assert "going on" not in clone.run("sh", "stages/run", "stages/train.py")
    assert kept.exists()


def test_features_of_other_images_are_refused_in_one_line(scattered: Clone, tmp_path: Path) -> None:
    clone = scattered.copy(tmp_path / "clone")
    images = ImageSet.load(clone.folder / "data/train.safetensors")
    order = np.arange(len(images))[::-1]
    images.take(order).save(clone.folder / "data/train.safetensors")
    said = clone.run("sh", "stages/run", "stages/train.py", check=False)
    assert "error: features/train.safetensors: not the features of these images: run dvc repro features" in said
    assert "Traceback" not in said
