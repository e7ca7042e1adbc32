"""What the registered model takes, and what it answers."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import requests
from clone import Clone
from features_hash import made_up
from remotes import free_port

from softmax_regression.data import weights
from softmax_regression.data.images import ImageSet
from softmax_regression.features.standardisation import Standardisation
from softmax_regression.tracking.serving import Classifier

GREY = np.array([[[0, 255, 51], [102, 0, 255]], [[255, 0, 0], [0, 204, 0]]], np.uint8)
MODEL = Classifier(np.arange(12, dtype=np.float32).reshape(2, 6) / 10, np.array([0.5, 0], np.float32))


COLOURED = np.random.default_rng(0).integers(0, 256, (4, 2, 5, 3), dtype=np.uint8)
COLOUR_MODEL = Classifier(np.random.default_rng(1).normal(0, 1, (3, 30)).astype(np.float32), np.zeros(3, np.float32))


def probabilities() -> np.ndarray:
    """Of two classes, in closed form: the second's is the logistic function of the difference of the logits."""
    second = 1 / (1 + np.exp(0.5 - 0.6 * GREY.reshape(2, 6).sum(axis=1) / 255))
    return np.stack([1 - second, second], axis=1)


@pytest.mark.parametrize(
    "images",
    [
        GREY,
        GREY.astype(np.int64),
        GREY.reshape(2, 6),
        GREY / 255,
        (GREY / 255).astype(np.float32).reshape(2, 1, 2, 3),
        GREY.tolist(),
        pd.DataFrame(GREY.reshape(2, 6)),
        pd.DataFrame(GREY.reshape(2, 6) / 255),
    ],
    ids=["grey", "int64", "rows", "floats", "ToTensor", "lists", "DataFrame", "DataFrame of floats"],
)
def test_the_same_answer_whatever_the_form(images: Any) -> None:
    answer = MODEL.predict(images)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, probabilities(), rtol=1e-5)


@pytest.mark.parametrize("form", [np.uint8, np.float64])
def test_a_model_of_features_is_given_images_all_the_same(form: type) -> None:
    images = made_up((8, 8), 2)
    weight = np.random.default_rng(0).normal(0, 0.1, (2, 324)).astype(np.float32)
    found = Standardisation.fit(images)
    model = Classifier(weight, np.zeros(2, np.float32), (8, 8), found.transform)
    expected = 1 / (1 + np.exp(found.transform(images).astype(float) @ (weight[1] - weight[0]) / 255))
    given = images if form == np.uint8 else images / 255
    for each in (given, given.reshape(len(images), 64)):
        np.testing.assert_allclose(model.predict(each)[:, 0], expected, rtol=1e-5)
    with pytest.raises(ValueError, match="of 64 levels"):
        model.predict(images[:, :7])


def test_black_and_white_is_ink_or_none() -> None:
    np.testing.assert_array_equal(MODEL.predict(GREY > 100), MODEL.predict((GREY > 100).astype(np.uint8) * 255))


def test_no_images_have_no_answers() -> None:
    assert MODEL.predict(GREY[:0]).shape == (0, 2)


def test_colours_are_told_apart_whether_they_come_last_or_as_totensor_puts_them() -> None:
    logits = COLOURED.reshape(4, 30) / 255 @ COLOUR_MODEL.weight.T
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    as_by_totensor = (np.moveaxis(COLOURED, 3, 1) / 255).astype(np.float32)
    for given in (COLOURED, COLOURED.reshape(4, 30), COLOURED.tolist(), COLOURED / 255, as_by_totensor):
        np.testing.assert_allclose(COLOUR_MODEL.predict(given), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (GREY[0], "an array of the shape [2, 3], must be images [N, height, width(, 3)] of 6 levels, or their rows"),
        (
            GREY[0].ravel(),
            "an array of the shape [6], must be images [N, height, width(, 3)] of 6 levels, or their rows",
        ),
        (GREY.astype(float), "float64 from 0.0 to 255.0, must be whole numbers from 0 to 255, or floats from 0 to 1"),
        (GREY.astype(np.int32) - 1, "int32 from -1 to 254, must be whole numbers from 0 to 255, or floats from 0 to 1"),
        (GREY * np.nan, "float64 from nan to nan, must be whole numbers from 0 to 255, or floats from 0 to 1"),
        (
            np.zeros((2, 0)),
            "an array of the shape [2, 0], must be images [N, height, width(, 3)] of 6 levels, or their rows",
        ),
        (None, "an array of the shape [], must be images [N, height, width(, 3)] of 6 levels, or their rows"),
        ({"image": 1}, "an array of the shape [], must be images [N, height, width(, 3)] of 6 levels, or their rows"),
        (GREY.astype(str), "<U3, must be whole numbers from 0 to 255, or floats from 0 to 1"),
    ],
)
def test_anything_else_is_refused_with_what_is_expected(images: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        MODEL.predict(images)


@pytest.mark.slow
def test_mlflows_own_server_takes_what_people_send(trained: Clone, tmp_path: Path) -> None:
    clone, port = trained.copy(tmp_path / "clone"), free_port()
    clone.run("dvc", "exp", "run", "-S", "lr=0.3")
    address = f"http://127.0.0.1:{port}"
    served = subprocess.Popen(
        [
            *(sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local", "--port", str(port)),
            *("--model-uri", "models:/softmax-regression@champion-digits"),
        ],
        cwd=clone.folder,
        env={**clone.environment, "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"},
        stderr=(tmp_path / "log").open("w"),
        start_new_session=True,
    )
    try:
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"{address}/health", timeout=60).ok:
                    break
            assert served.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        test = ImageSet.load(clone.folder / "data/test.safetensors").part(0, 5)
        weight, bias = weights.read(clone.folder / "models/softmax.safetensors")
        expected = Classifier(weight, bias).predict(test.images)
        rows = test.pixels
        for given in (
            {"inputs": test.images.tolist()},
            {"inputs": rows.tolist()},
            {"inputs": (rows / 255).tolist()},
            {"instances": test.images.tolist()},
            {"dataframe_split": {"columns": list(range(64)), "data": rows.tolist()}},
        ):
            answer = requests.post(f"{address}/invocations", json=given, timeout=60)
            np.testing.assert_allclose(answer.json()["predictions"], expected, atol=1e-6)
        refused = requests.post(f"{address}/invocations", json={"inputs": [[1, 2]]}, timeout=60)
        assert refused.status_code == 400
    finally:
        os.killpg(served.pid, signal.SIGKILL)
        served.wait()
