from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from features_hash import made_up

from softmax_regression.base.errors import UserError
from softmax_regression.data import weights
from softmax_regression.data.images import ImageSet, Preparation
from softmax_regression.data.weights import Origin
from softmax_regression.features.standardisation import Standardisation
from softmax_regression.model import exact
from softmax_regression.pictures.reading import Picture
from softmax_regression.prediction.classifier import Classifier

ORIGIN = Origin("stripes", ("upright", "level"), (4, 4), Preparation("strokes", box=4), "0" * 32)
# Ink in the second row speaks for a level stripe, in the second column for an upright one.
UPRIGHT = np.zeros((4, 4))
UPRIGHT[:, 1:3] = 1
CLASSIFIER = Classifier(np.stack([UPRIGHT.ravel(), UPRIGHT.T.ravel()]) * 0.5, np.zeros(2), ORIGIN)


def stripe(upright: bool) -> np.ndarray:
    grey = np.full((80, 80), 255, np.uint8)
    grey[10:70, 25:55] = 0
    return grey if upright else grey.T


@pytest.mark.parametrize("upright", [True, False])
def test_the_answer_is_the_most_probable_class_with_the_others_behind(upright: bool) -> None:
    answer = CLASSIFIER.answer(Picture(stripe(upright), ("turned as the camera was held",)))
    # All 8 pixels of the stripe have the weight ½ for it, 4 of them for the other: logits of 4 and 2.
    share = 1 / (1 + np.exp(-2))
    names = ("upright", "level") if upright else ("level", "upright")
    assert [name for name, _ in answer.ranked] == list(names)
    assert [probability for _, probability in answer.ranked] == pytest.approx([share, 1 - share], abs=1e-12)
    assert not answer.is_unsure
    assert answer.done == ("turned as the camera was held", "dark on light, inverted")
    described = answer.as_json()
    assert described["class"] == names[0] and described["probabilities"] == dict(
        zip(ORIGIN.classes, answer.probabilities.tolist(), strict=True)
    )
    left, top, right, bottom = (25, 10, 55, 70) if upright else (10, 25, 70, 55)
    assert described["prepared"] == {"done": list(answer.done), "box": [left, top, right, bottom]}


def test_an_answer_that_is_often_wrong_is_unsure() -> None:
    close = replace(CLASSIFIER, weight=CLASSIFIER.weight / 4)  # logits of 1 and ½: a probability of 0.62
    assert close.answer(Picture(stripe(True))).is_unsure


def test_probabilities_are_those_of_evaluate(small: ImageSet) -> None:
    random = np.random.default_rng(0)
    weight, bias = random.normal(size=small.model_shape), random.normal(size=3)
    classifier = Classifier(weight, bias, Origin.of(small, ""))
    predicted, probability, _ = exact.predict(weight, bias, small.pixels, small.labels)
    found = classifier.probabilities(small.images)
    np.testing.assert_array_equal(found.argmax(1), predicted)
    np.testing.assert_array_equal(found.max(1), probability)


def test_a_model_comes_from_its_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "softmax.safetensors"
    weights.write(path, CLASSIFIER.weight.astype(np.float32), CLASSIFIER.bias.astype(np.float32), ORIGIN)
    loaded = Classifier.load(path)
    assert loaded.origin == ORIGIN
    answers = [each.answer(Picture(stripe(False))) for each in (loaded, CLASSIFIER)]
    np.testing.assert_array_equal(answers[0].probabilities, answers[1].probabilities)


def test_a_model_that_does_not_say_what_it_is_of_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "softmax.safetensors"
    weights.write(path, np.zeros((2, 16), np.float32), np.zeros(2, np.float32))
    with pytest.raises(UserError, match=r"softmax\.safetensors: does not say its classes, code, data"):
        Classifier.load(path)


FEATURES = Standardisation.fit(made_up((8, 8), 3))
OF_FEATURES = Origin("made up", ("a", "b"), (8, 8), Preparation(), "0" * 32, standardisation=FEATURES.description)


def test_a_model_of_features_makes_them_of_the_image(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(0, 0.1, (2, 324)).astype(np.float32)
    weights.write(tmp_path / "softmax", weight, np.zeros(2, np.float32), OF_FEATURES)
    images = made_up((8, 8), 2)
    logits = FEATURES.transform(images).astype(float) @ weight.astype(float).T / 255
    expected = 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))
    classifier = Classifier.load(tmp_path / "softmax")
    np.testing.assert_allclose(classifier.probabilities(images)[:, 0], expected, atol=1e-9)
    np.testing.assert_array_equal(
        classifier.probabilities(images), classifier.probabilities(images.reshape(len(images), -1))
    )
    assert classifier.probabilities(images[:0]).shape == (0, 2)


@pytest.mark.parametrize(
    ("standardisation", "count", "reason"),
    [
        (FEATURES.description, 323, "what it says of itself does not fit its weights"),
        ({"means": [0] * 324}, 324, "means and deviations must be 324 whole numbers each"),
        ({}, 324, "what it says of itself does not fit its weights"),
    ],
)
def test_a_model_whose_features_do_not_fit_is_refused(
    standardisation: dict[str, list[int]], count: int, reason: str, tmp_path: Path
) -> None:
    origin = replace(OF_FEATURES, standardisation=standardisation)
    weights.write(tmp_path / "softmax", np.zeros((2, count), np.float32), np.zeros(2, np.float32), origin)
    with pytest.raises(UserError, match=rf"softmax: {reason}"):
        Classifier.load(tmp_path / "softmax")
