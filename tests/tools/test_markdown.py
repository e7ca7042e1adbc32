import numpy as np
import pytest

from softmax_regression.tools import markdown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0050183, "0.005018"),
        (np.float32(2.5), "2.500000"),
        (7, "7"),
        (np.int64(7), "7"),
        (np.array([5, 0, 4]), "5 0 4"),
        ((0.5, 1.0), "0.500000 1.000000"),
        (np.bool_(True), "yes"),
        (False, "no"),
        ("55.11%", "55.11%"),
    ],
)
def test_a_cell_shows_six_decimals_yes_or_no_and_whole_numbers_as_they_are(value: object, text: str) -> None:
    assert markdown.cell(value) == text


def test_a_table_has_a_header_a_rule_and_a_line_for_each_row() -> None:
    rows = zip([0, 100], np.array([2.25, 0.5]), strict=True)
    assert markdown.table(["epoch", "cost"], rows) == (
        "| epoch | cost |\n| --- | ---: |\n| 0 | 2.250000 |\n| 100 | 0.500000 |"
    )
