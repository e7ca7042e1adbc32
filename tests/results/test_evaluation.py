import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet
from softmax_regression.results.evaluation import (
    Predictions,
    calibration_error,
    confusion_counts,
    evaluate,
    evaluate_classes,
    most_confident_mistakes,
    read_predictions,
    table,
    write_predictions,
)
from softmax_regression.results.statistics import wilson_interval

# The class 2 is never predicted; predicted are 0, 1, 1, 0.
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2]])
LABELS = np.array([0, 0, 1, 2])


def predictions(probabilities: np.ndarray, labels: np.ndarray = LABELS) -> Predictions:
    rows = np.arange(len(probabilities))
    costs = -np.log(probabilities[rows, labels[: len(rows)]])
    return Predictions(probabilities.argmax(axis=1), probabilities.max(axis=1), costs)


def test_confusion_counts_have_a_row_for_each_actual_class() -> None:
    counts = confusion_counts(LABELS, np.array([0, 1, 1, 0]), 4)
    np.testing.assert_array_equal(counts, [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])


def test_figures_of_a_case_counted_by_hand() -> None:
    evaluation = evaluate(predictions(PROBABILITIES), LABELS)
    costs = -np.log([0.7, 0.2, 0.8, 0.2])
    assert evaluation.cost == pytest.approx(costs.mean())
    assert evaluation.cost_standard_error == pytest.approx(costs.std(ddof=1) / 2)
    assert evaluation.accuracy == 0.5
    assert (evaluation.accuracy_low, evaluation.accuracy_high) == pytest.approx((0.150039, 0.849961), abs=1e-6)
    # Each in a bin of its own: (|0.7 - 1| + |0.6 - 0| + |0.8 - 1| + |0.5 - 0|) / 4.
    assert evaluation.calibration_error == pytest.approx(0.4)


def test_each_class_has_its_figures_and_one_without_images_or_predictions_has_0() -> None:
    figures = evaluate_classes(confusion_counts(np.array([0, 0, 1]), np.array([0, 1, 1]), 3))
    assert (figures["precision"], figures["recall"]) == ([1.0, 0.5, 0.0], [0.5, 1.0, 0.0])
    for name, right, count in (("precision", [1, 1, 0], [1, 2, 0]), ("recall", [1, 1, 0], [2, 1, 0])):
        ends = wilson_interval(np.array(right), np.array(count))
        assert (figures[f"{name}_low"], figures[f"{name}_high"]) == (ends[0].tolist(), ends[1].tolist())


def test_one_image_has_no_standard_error() -> None:
    assert evaluate(predictions(PROBABILITIES[:1]), LABELS[:1]).cost_standard_error is None


def test_lines_for_people_hold_the_intervals() -> None:
    evaluation = evaluate(predictions(PROBABILITIES), LABELS)
    lines = table({"valid": evaluation, "test": evaluation}, {"test": {"accuracy": 0.75}}).splitlines()
    assert [re.split("  +", line.strip()) for line in lines] == [
        ["accuracy (95 %)", "cost in nats (95 %)", "committed accuracy"],
        ["valid", "0.5000 (0.1500 to 0.8500)", "0.9497 ± 0.7485"],
        ["test", "0.5000 (0.1500 to 0.8500)", "0.9497 ± 0.7485", "0.7500"],
    ]


def test_within_a_bin_confidence_and_accuracy_are_compared_in_the_mean() -> None:
    # 0.68 and 0.72 share the bin from 10/15 to 11/15: |0.68 + 0.72 - 1| / 2.
    assert calibration_error(np.array([0.68, 0.72]), np.array([False, True])) == pytest.approx(0.2)
    # 0.66 and 0.72 do not: (|0.66 - 0| + |0.72 - 1|) / 2.
    assert calibration_error(np.array([0.66, 0.72]), np.array([False, True])) == pytest.approx(0.47)


def test_a_confidence_of_1_is_in_the_last_bin() -> None:
    assert calibration_error(np.array([1.0, 0.95]), np.array([False, True])) == pytest.approx(0.475)


def test_who_is_sure_and_right_is_calibrated_and_who_is_sure_and_wrong_is_not() -> None:
    sure = np.ones(3)
    assert calibration_error(sure, np.array([True, True, True])) == 0
    assert calibration_error(sure, np.array([False, False, False])) == 1


def test_figures_agree_with_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 5, 400)
    probabilities = generator.dirichlet(np.ones(6), 400)  # the class 5 has no images
    probabilities[np.arange(400), labels] += 0.3
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    evaluation = evaluate(predictions(probabilities, labels), labels)
    counts = confusion_counts(labels, predicted, 6)
    figures = evaluate_classes(counts)
    precision, recall, _, _ = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(6), zero_division=0
    )
    assert evaluation.cost == pytest.approx(metrics.log_loss(labels, probabilities, labels=range(6)))
    assert evaluation.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert figures["precision"] == pytest.approx(precision)
    assert figures["recall"] == pytest.approx(recall)
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(labels, predicted, labels=range(6)))


def test_costs_are_added_without_rounding_whatever_their_order() -> None:
    costs = np.array([1e9, 1e-9, 0.125] * 1000)
    found = Predictions(np.zeros(3000, np.int64), np.ones(3000), costs)
    backward = dataclasses.replace(found, costs=costs[::-1])
    labels = np.zeros(3000, np.int64)
    assert evaluate(found, labels) == evaluate(backward, labels)
    assert evaluate(found, labels).cost == (10**9 + 0.125 + 1e-9) / 3


def test_the_most_confident_mistakes_come_first_equal_ones_in_their_order() -> None:
    right = np.array([False, True, False, False, True, False])
    probability = np.array([0.5, 0.99, 0.9, 0.5, 0.98, 0.6])
    assert most_confident_mistakes(right, probability, 3).tolist() == [2, 5, 0]
    assert most_confident_mistakes(right, probability, 100).tolist() == [2, 5, 0, 3]
    many = np.tile([0.5, 0.9], 100)
    assert most_confident_mistakes(many > 1, many, 200).tolist() == [*range(1, 200, 2), *range(0, 200, 2)]


def test_no_mistakes_give_no_indices() -> None:
    assert most_confident_mistakes(np.array([True, True]), np.array([0.5, 0.9]), 3).tolist() == []


IMAGES = ImageSet(np.zeros((4, 1, 1), np.uint8), np.array([0, 1, 2, 2]), ("T-shirt, top", "き", "7"), "small", {})
PREDICTED = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.8, 0.1, 0.1], [0, 0, 1]])
WRITTEN = """index,actual,predicted,probability
0,"T-shirt, top","T-shirt, top",0.7
1,き,き,0.5
2,7,"T-shirt, top",0.8
3,7,7,1.0
"""


def test_predictions_are_written_by_name_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    write_predictions(path, Predictions(PREDICTED.argmax(1), PREDICTED.max(1), np.zeros(4)), IMAGES)
    assert path.read_text(encoding="utf-8") == WRITTEN
    predicted, probability = read_predictions(path, IMAGES)
    assert predicted.tolist() == [0, 1, 0, 2]
    assert probability.tolist() == [0.7, 0.5, 0.8, 1.0]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("3,7,7,1.0\n", "", "not predictions for these images: run evaluate again"),
        ("1,き,", "1,7,", "not predictions for these images: run evaluate again"),
        ("3,7,7,", "3,7,8,", "damaged: '8' is no class of small"),
        ("0.8", "often", "damaged: could not convert string to float: .*'often'.*"),
        ("probability", "chance", "damaged: the column probability is missing"),
    ],
)
def test_what_evaluate_has_not_written_for_these_images_is_refused(
    old: str, new: str, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "predictions.csv"
    path.write_text(WRITTEN.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=rf"^\S+/predictions\.csv: {reason}$"):
        read_predictions(path, IMAGES)


@given(place=st.integers(0, len(WRITTEN.encode())), cut=st.integers(0, 9), new=st.binary(max_size=9))
def test_any_damage_is_refused_or_leaves_a_whole_table(place: int, cut: int, new: bytes, tmp_path: Path) -> None:
    path, content = tmp_path / "predictions.csv", WRITTEN.encode()
    path.write_bytes(content[:place] + new + content[place + cut :])
    try:
        predicted, probability = read_predictions(path, IMAGES)
    except UserError as error:
        assert str(error).isprintable()
    else:
        assert predicted.shape == probability.shape == (4,)
        assert {*predicted} <= {0, 1, 2}
