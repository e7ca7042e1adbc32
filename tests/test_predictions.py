from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softmax_regression import predictions
from softmax_regression.errors import UserError
from softmax_regression.images import ImageSet

IMAGES = ImageSet(np.zeros((4, 1, 1), np.uint8), np.array([0, 1, 2, 2]), ("T-shirt, top", "き", "7"), "small", {})
LOG_PROBABILITIES = np.log(np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.8, 0.1, 0.1], [0, 0, 1]], np.float32) + 1e-9)
WRITTEN = """index,actual,predicted,probability
0,"T-shirt, top","T-shirt, top",0.7
1,き,き,0.5
2,7,"T-shirt, top",0.8
3,7,7,1.0
"""


def test_predictions_are_written_by_name_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    predictions.write(path, LOG_PROBABILITIES, IMAGES)
    assert path.read_text(encoding="utf-8") == WRITTEN
    predicted, probability = predictions.read(path, IMAGES)
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
        predictions.read(path, IMAGES)


@given(place=st.integers(0, len(WRITTEN.encode())), cut=st.integers(0, 9), new=st.binary(max_size=9))
def test_any_damage_is_refused_or_leaves_a_whole_table(place: int, cut: int, new: bytes, tmp_path: Path) -> None:
    path, content = tmp_path / "predictions.csv", WRITTEN.encode()
    path.write_bytes(content[:place] + new + content[place + cut :])
    try:
        predicted, probability = predictions.read(path, IMAGES)
    except UserError as error:
        assert str(error).isprintable()
    else:
        assert predicted.shape == probability.shape == (4,)
        assert {*predicted} <= {0, 1, 2}
