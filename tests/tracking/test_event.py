import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import _validate_metric_name

from softmax_regression.tracking.event import metric_names


def test_usual_names_stay_as_they_are() -> None:
    usual = ["0", "T-shirt/top", "Ankle boot", "café", "犬", "a.b:c_d"]
    assert metric_names(usual) == usual


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (["$5", "a\"b'c"], ["_5", "a_b_c"]),
        (["$", "€", "_"], ["_", "_ 1", "_ 2"]),
        (["..", "a//b", "."], ["__", "a__b", "_"]),
        (["x" * 300, "x" * 301], ["x" * 200, "x" * 200 + " 1"]),
    ],
)
def test_others_are_made_into_names_that_mlflow_takes(classes: list[str], names: list[str]) -> None:
    assert metric_names(classes) == names


@given(st.lists(st.text(min_size=1), unique=True))
def test_any_names_are_taken_and_differ(classes: list[str]) -> None:
    names = metric_names(classes)
    for name in names:
        _validate_metric_name(f"precision_high/{name}")
    assert len(set(names)) == len(classes)


def test_a_number_that_makes_names_differ_is_no_others_name() -> None:
    assert metric_names(["_ 2", "$", "€"]) == ["_ 2", "_", "_ 3"]
