import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from softmax_regression.base import tensor_files
from softmax_regression.base.errors import UserError
from softmax_regression.data import weights
from softmax_regression.data.images import ImageSet, Preparation
from softmax_regression.data.weights import Origin

WEIGHT, BIAS = np.zeros((3, 4), np.float32), np.zeros(3, np.float32)
SHAPES = r"must hold float32 weight \[classes, pixels\] and bias \[classes\]"


def test_weights_come_back_and_equal_ones_give_equal_bytes(tmp_path: Path) -> None:
    weight, bias = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32), np.array([1, -2, 0.5], np.float32)
    weights.write(tmp_path / "first", weight, bias)
    read_weight, read_bias = weights.read(tmp_path / "first")
    np.testing.assert_array_equal(read_weight, weight)
    np.testing.assert_array_equal(read_bias, bias)
    weights.write(tmp_path / "second", read_weight, read_bias)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


ORIGIN = Origin("small", ("red", "き", "</b>"), (2, 2), Preparation("strokes", 2, "mass", 55), "0" * 32)


def test_a_model_says_what_it_is_of(small: ImageSet, tmp_path: Path) -> None:
    weights.write(tmp_path / "softmax", WEIGHT, BIAS, ORIGIN)
    assert weights.read_whole(tmp_path / "softmax")[2] == ORIGIN
    assert Origin.of(small, "md5").image_size == (3, 2) and Origin.of(small, "md5").classes == small.classes


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"classes": ["red", "green"]}, "what it says of itself does not fit its weights"),
        ({"classes": ["red", "green", 3]}, "what it says of itself does not fit its weights"),
        ({"image_size": [4, 4]}, "what it says of itself does not fit its weights"),
        ({"image_size": 4}, "what it says of itself does not fit its weights"),
        ({"image_size": [2.0, 2.0]}, "what it says of itself does not fit its weights"),
        ({"classes": ["red", "green", "red"]}, "what it says of itself does not fit its weights"),
        ({"classes": "abc"}, "what it says of itself does not fit its weights"),
        ({"dataset": 7}, "what it says of itself does not fit its weights"),
        ({"preparation": {}}, "preparation must have shows, box, centre, least_ink"),
        (
            {"preparation": {**asdict(ORIGIN.preparation), "shows": "faces"}},
            "preparation of 'faces' with centre 'mass' is",
        ),
        ({"preparation": {**asdict(ORIGIN.preparation), "box": -1}}, "preparation: box and least_ink must be whole"),
        (
            {"preparation": {**asdict(ORIGIN.preparation), "box": 3}},
            "preparation: a box of 3 pixels in an image of 2×2",
        ),
    ],
)
def test_a_model_that_says_something_else_is_refused(changed: dict[str, object], reason: str, tmp_path: Path) -> None:
    tensor_files.write(tmp_path / "softmax", {"weight": WEIGHT, "bias": BIAS}, asdict(ORIGIN) | changed)
    with pytest.raises(UserError, match=f"softmax: {re.escape(reason)}"):
        weights.read_whole(tmp_path / "softmax")


def test_a_model_from_before_it_said_anything_is_refused_and_one_that_says_more_taken(tmp_path: Path) -> None:
    said = asdict(ORIGIN)
    tensor_files.write(tmp_path / "softmax", {"weight": WEIGHT, "bias": BIAS}, said | {"more": 1})
    assert weights.read_whole(tmp_path / "softmax")[2] == ORIGIN
    del said["data"], said["code"]
    tensor_files.write(tmp_path / "softmax", {"weight": WEIGHT, "bias": BIAS}, said)
    with pytest.raises(
        UserError, match=r"softmax: does not say its code, data: it is from before 0\.2\.0, train it again"
    ):
        weights.read_whole(tmp_path / "softmax")


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"weight": WEIGHT}, r"holds \['weight'\], must hold weight and bias"),
        ({"W": WEIGHT, "b": BIAS}, r"holds \['W', 'b'\], must hold weight and bias"),
        ({"weight": WEIGHT, "bias": BIAS, "step": BIAS}, r"holds \['bias', 'step', 'weight'\], must hold"),
        ({"weight": WEIGHT.T, "bias": BIAS}, SHAPES),
        ({"weight": WEIGHT[..., None], "bias": BIAS}, SHAPES),
        ({"weight": WEIGHT, "bias": BIAS[None]}, SHAPES),
        ({"weight": WEIGHT.astype(np.int64), "bias": BIAS}, SHAPES),
        ({"weight": WEIGHT, "bias": BIAS.astype(np.uint8)}, SHAPES),
        ({"weight": WEIGHT[:0], "bias": BIAS[:0]}, "its weights are empty"),
        ({"weight": WEIGHT[:, :0], "bias": BIAS}, "its weights are empty"),
        ({"weight": np.full_like(WEIGHT, np.nan), "bias": BIAS}, "some weights are not finite"),
        ({"weight": WEIGHT, "bias": np.full_like(BIAS, np.inf)}, "some weights are not finite"),
    ],
)
def test_what_is_not_a_model_is_refused(arrays: dict[str, np.ndarray], reason: str, tmp_path: Path) -> None:
    tensor_files.write(tmp_path / "softmax.safetensors", arrays, {})
    with pytest.raises(UserError, match=rf"softmax\.safetensors: not a model: {reason}"):
        weights.read(tmp_path / "softmax.safetensors")


@pytest.mark.parametrize("shape", [(3, 5), (2, 4), (4, 3)])
def test_a_model_for_other_images_is_refused(shape: tuple[int, int], tmp_path: Path) -> None:
    weights.write(tmp_path / "softmax.safetensors", WEIGHT, BIAS)
    assert weights.read(tmp_path / "softmax.safetensors", (3, 4))[0].shape == (3, 4)
    with pytest.raises(UserError) as refused:
        weights.read(tmp_path / "softmax.safetensors", shape)
    assert str(refused.value).endswith(
        "softmax.safetensors: a model for 4 pixels and 3 classes, "
        f"but the images have {shape[1]} and {shape[0]}: train one for them"
    )


SAFETENSORS = safetensors.numpy.save({"weight": WEIGHT, "bias": BIAS}, {"description": '{"a": [1, "x"]}'})


@given(place=st.integers(0, len(SAFETENSORS)), cut=st.integers(0, 9), new=st.binary(max_size=9))
@example(place=SAFETENSORS.index(b"3,4"), cut=3, new=b"4,3")
@example(place=0, cut=8, new=b"\xff" * 8)
@example(place=len(SAFETENSORS) - 1, cut=1, new=b"")
def test_any_damage_is_refused_or_leaves_a_model(place: int, cut: int, new: bytes, tmp_path: Path) -> None:
    path = tmp_path / "softmax.safetensors"
    path.write_bytes(SAFETENSORS[:place] + new + SAFETENSORS[place + cut :])
    try:
        weight, bias = weights.read(path, (3, 4))
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert (weight.shape, bias.shape) == ((3, 4), (3,))
        assert weight.dtype == bias.dtype == np.float32
        assert np.isfinite(weight).all() and np.isfinite(bias).all()


def test_images_are_not_a_model(small: ImageSet, tmp_path: Path) -> None:
    small.save(tmp_path / "train.safetensors")
    with pytest.raises(UserError, match=r"holds \['images', 'labels'\]"):
        weights.read(tmp_path / "train.safetensors")


def test_a_model_cut_short_or_saved_by_torch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "softmax.safetensors"
    weights.write(path, WEIGHT, BIAS)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="not a safetensors file"):
        weights.read(path)
    torch.save({"weight": torch.zeros(3, 4), "bias": torch.zeros(3)}, path)
    with pytest.raises(UserError, match="not a safetensors file"):
        weights.read(path)
