import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet
from softmax_regression.results.evaluation import (
    calibration_error,
    confusion_counts,
    evaluate,
    most_confident_mistakes,
    read_predictions,
    write_predictions,
)

# The class 2 is never predicted; predicted are 0, 1, 1, 0.
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.2, 0.6, 0.2], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2]])
LABELS = np.array([0, 0, 1, 2])


def test_confusion_counts_have_a_row_for_each_actual_class() -> None:
    counts = confusion_counts(LABELS, np.array([0, 1, 1, 0]), 4)
    np.testing.assert_array_equal(counts, [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])


def test_figures_of_a_case_counted_by_hand() -> None:
    evaluation = evaluate(np.log(PROBABILITIES), PROBABILITIES, LABELS)
    assert evaluation.cost == pytest.approx(-(math.log(0.7) + math.log(0.2) + math.log(0.8) + math.log(0.2)) / 4)
    assert evaluation.accuracy == 0.5
    assert evaluation.precision == [0.5, 0.5, 0.0]
    assert evaluation.recall == [0.5, 1.0, 0.0]
    # Each in a bin of its own: (|0.7 - 1| + |0.6 - 0| + |0.8 - 1| + |0.5 - 0|) / 4.
    assert evaluation.calibration_error == pytest.approx(0.4)


def test_a_class_without_images_has_a_recall_of_0() -> None:
    evaluation = evaluate(np.log(PROBABILITIES[:3]), PROBABILITIES[:3], LABELS[:3])
    assert evaluation.recall == [0.5, 1.0, 0.0]


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
    evaluation = evaluate(np.log(probabilities), probabilities, labels)
    precision, recall, _, _ = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(6), zero_division=0
    )
    assert evaluation.cost == pytest.approx(metrics.log_loss(labels, probabilities, labels=range(6)))
    assert evaluation.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert evaluation.precision == pytest.approx(precision)
    assert evaluation.recall == pytest.approx(recall)
    expected = metrics.confusion_matrix(labels, predicted, labels=range(6))
    np.testing.assert_array_equal(confusion_counts(labels, predicted, 6), expected)


def test_probabilities_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(UserError, match="the model's weights are too large"):
        evaluate(np.array([[np.nan, 0.0]]), np.array([[np.nan, 1.0]]), np.array([0]))


def test_costs_are_added_without_rounding_whatever_their_order() -> None:
    log_probabilities = -np.array([[1e9, 0.0], [1e-9, 0.0], [0.125, 0.0]] * 1000)
    labels = np.zeros(3000, np.int64)
    forward, backward = (
        evaluate(each, np.exp(each), labels).cost for each in (log_probabilities, log_probabilities[::-1])
    )
    assert forward == backward == (10**9 + 0.125 + 1e-9) / 3


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
    write_predictions(path, PREDICTED, IMAGES)
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
