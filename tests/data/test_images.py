from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from softmax_regression.base import tensor_files
from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet, Preparation

WANTED = "uint8 [N > 0, height, width] or [N > 0, height, width, 3]"


def test_a_saved_set_comes_back(small: ImageSet, tmp_path: Path) -> None:
    small.save(tmp_path / "train.safetensors")
    loaded = ImageSet.load(tmp_path / "train.safetensors")
    np.testing.assert_array_equal(loaded.images, small.images)
    np.testing.assert_array_equal(loaded.labels, small.labels)
    known = ("small", ("red", "green", "blue"), {"made-up": "sha256:0"})
    assert (loaded.dataset, loaded.classes, loaded.source) == known


def test_equal_sets_give_equal_bytes(small: ImageSet, tmp_path: Path) -> None:
    small.save(tmp_path / "first")
    ImageSet.load(tmp_path / "first").save(tmp_path / "second")
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_pixels_are_the_rows_of_each_image_one_after_another(small: ImageSet) -> None:
    assert small.pixels.shape == (23, 6)
    np.testing.assert_array_equal(small.pixels[4], [*small.images[4, 0], *small.images[4, 1], *small.images[4, 2]])


def test_images_in_colour_have_three_numbers_a_pixel(small: ImageSet, tmp_path: Path) -> None:
    colours = np.arange(23 * 18, dtype=np.uint16).astype(np.uint8).reshape(23, 3, 2, 3)
    replace(small, images=colours).save(tmp_path / "colours")
    loaded = ImageSet.load(tmp_path / "colours")
    assert (loaded.image_size, loaded.model_shape, small.image_size) == ((3, 2, 3), (3, 18), (3, 2))
    np.testing.assert_array_equal(loaded.pixels[1], colours[1].ravel())


@pytest.mark.parametrize(("share", "held_out"), [(0.1, 2), (0.5, 12), (1e-9, 1), (0.999, 22)])
def test_the_last_images_are_held_out_at_least_one_and_never_all(share: float, held_out: int, small: ImageSet) -> None:
    kept, held = small.hold_out(share)
    assert (len(kept), len(held)) == (23 - held_out, held_out)
    np.testing.assert_array_equal(np.concatenate([kept.images, held.images]), small.images)
    np.testing.assert_array_equal(np.concatenate([kept.labels, held.labels]), small.labels)
    assert np.shares_memory(kept.images, small.images) and np.shares_memory(held.images, small.images)


def test_nothing_can_be_held_out_of_one_image(small: ImageSet) -> None:
    with pytest.raises(UserError, match="small: 1 image, too few"):
        small.part(0, 1).hold_out(0.5)


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (np.zeros((23, 3, 2), np.float32), "float32 [23, 3, 2]"),
        (np.zeros((23, 6), np.uint8), "uint8 [23, 6]"),
        (np.zeros((0, 3, 2), np.uint8), "uint8 [0, 3, 2]"),
        (np.zeros((23, 0, 2), np.uint8), "uint8 [23, 0, 2]"),
        (np.zeros((23, 3, 2, 4), np.uint8), "uint8 [23, 3, 2, 4]"),
        (np.zeros((23, 3, 2, 1), np.uint8), "uint8 [23, 3, 2, 1]"),
    ],
)
def test_wrong_images_are_refused(images: np.ndarray, found: str, small: ImageSet) -> None:
    with pytest.raises(UserError) as refused:
        replace(small, images=images)
    assert str(refused.value) == f"small: images are {found}, must be {WANTED}"


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.zeros(23, np.int32), "labels are int32 [23], must be int64 [23]"),
        (np.zeros(22, np.int64), "labels are int64 [22], must be int64 [23]"),
        (np.full(23, 3), "labels must lie between 0 and 2"),
        (np.full(23, -1), "labels must lie between 0 and 2"),
    ],
)
def test_wrong_labels_are_refused(labels: np.ndarray, reason: str, small: ImageSet) -> None:
    with pytest.raises(UserError) as refused:
        replace(small, labels=labels)
    assert str(refused.value) == f"small: {reason}"


def test_a_file_without_images_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensor_files.write(path, {"weight": np.zeros(2, np.float32)}, {})
    with pytest.raises(UserError, match=r"model\.safetensors: not an image set: 'classes' is missing"):
        ImageSet.load(path)


def test_a_file_with_wrong_labels_is_refused_by_name(small: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "train.safetensors"
    description = {"dataset": "small", "classes": ["a", "b"], "source": {}, "preparation": asdict(small.preparation)}
    tensor_files.write(path, {"images": small.images, "labels": small.labels}, description)
    with pytest.raises(UserError, match=r"train\.safetensors: small: labels must lie between 0 and 1"):
        ImageSet.load(path)


def test_how_the_images_were_made_comes_back(small: ImageSet, tmp_path: Path) -> None:
    how = Preparation("strokes", 3, "mass", 55)
    replace(small, preparation=how).save(tmp_path / "train.safetensors")
    assert ImageSet.load(tmp_path / "train.safetensors").preparation == how


def test_images_are_taken_in_the_order_of_the_rows(small: ImageSet) -> None:
    taken = small.take(np.array([7, 2]))
    np.testing.assert_array_equal(taken.images, np.stack([small.images[7], small.images[2]]))
    np.testing.assert_array_equal(taken.labels, [small.labels[7], small.labels[2]])
    assert (taken.classes, taken.dataset) == (small.classes, small.dataset)


def test_another_data_set_than_the_wanted_one_is_refused(small: ImageSet, tmp_path: Path) -> None:
    path = tmp_path / "train.safetensors"
    small.save(path)
    assert len(ImageSet.load(path, "small")) == len(small)
    with pytest.raises(UserError) as refused:
        ImageSet.load(path, "mnist")
    assert str(refused.value) == f"{path}: holds small, must hold mnist: set dataset in params.yaml to mnist"


def test_images_set_aside_are_held_out_instead_of_a_share(small: ImageSet, tmp_path: Path) -> None:
    replace(small, set_aside=5).save(tmp_path / "train")
    loaded = ImageSet.load(tmp_path / "train")
    kept, held_out = loaded.hold_out(0.1)
    assert (loaded.set_aside, len(kept), len(held_out), kept.set_aside, held_out.set_aside) == (5, 18, 5, 0, 0)
    with pytest.raises(UserError, match=r"^small: 23 images set aside, of 23$"):
        replace(small, set_aside=23)


FEATURES = np.arange(23 * 5, dtype=np.int8).reshape(23, 5)
FIVE = {"means": [0] * 5}


def with_features(images: ImageSet, folder: Path, features: np.ndarray = FEATURES) -> ImageSet:
    tensor_files.write(folder / "features", {"features": features}, {"standardisation": FIVE, "data": "md5"})
    return images.with_features(folder / "features", "md5")


def test_a_model_is_given_the_features_where_there_are_some(small: ImageSet, tmp_path: Path) -> None:
    images = with_features(small, tmp_path)
    np.testing.assert_array_equal(images.rows, FEATURES)
    assert (images.model_shape, images.image_size, images.standardisation) == ((3, 5), (3, 2), FIVE)
    kept, held_out = images.hold_out(0.2)
    np.testing.assert_array_equal(np.concatenate([kept.rows, held_out.rows]), FEATURES)
    np.testing.assert_array_equal(images.take(np.array([4, 2])).rows, FEATURES[[4, 2]])


def test_without_features_a_model_is_given_the_pixels(small: ImageSet) -> None:
    assert small.with_features(None) is small
    assert np.shares_memory(small.rows, small.images)


@pytest.mark.parametrize(
    ("features", "found"),
    [
        (FEATURES[1:], r"int8 \[22, 5\]"),
        (FEATURES.astype(np.uint8), r"uint8 \[23, 5\]"),
        (FEATURES[:, 0], r"int8 \[23\]"),
    ],
)
def test_features_of_other_images_are_refused(
    features: np.ndarray, found: str, small: ImageSet, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=rf"features: small: features are {found}, must be int8 \[23, features\]"):
        with_features(small, tmp_path, features)


@pytest.mark.parametrize(
    ("description", "arrays", "reason"),
    [
        ({"features": "pixels"}, {}, "not the features of these images: run dvc repro features"),
        ({"standardisation": FIVE, "data": "other"}, {"features": FEATURES}, "not the features of these images"),
        ({"standardisation": None, "data": "md5"}, {"features": FEATURES}, "does not say how its features are made"),
        ({"standardisation": {"means": [0]}, "data": "md5"}, {"features": FEATURES}, "does not say how its features"),
    ],
)
def test_a_file_that_has_no_features_of_the_images_is_refused(
    description: dict[str, object], arrays: dict[str, np.ndarray], reason: str, small: ImageSet, tmp_path: Path
) -> None:
    tensor_files.write(tmp_path / "features", arrays, description)
    with pytest.raises(UserError, match=f"features: {reason}"):
        small.with_features(tmp_path / "features", "md5")
