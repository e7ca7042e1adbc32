import numpy as np
import pytest
from trainings import learning_curve

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet
from softmax_regression.training.recipe import Recipe

RECIPE = Recipe("scratch", lr=0.5, lr_schedule="constant", epochs=20, batch_size=4, momentum=0.0, weight_decay=0.0)


def image_set(count: int) -> ImageSet:
    """Each image has one white pixel, and its place is the label: three classes, one after the other."""
    labels = np.arange(count) % 3
    images = np.zeros((count, 1, 3), np.uint8)
    images[np.arange(count), 0, labels] = 255
    return ImageSet(images, labels, ("a", "b", "c"), "made up", {})


def test_one_image_teaches_one_class_and_all_images_teach_every_class() -> None:
    points = list(learning_curve(image_set(30), image_set(9), [1, 30], 3, 0.0, RECIPE))
    assert [size for size, _ in points] == [1, 30]
    # Knowing one class alone, the model calls everything by it.
    assert points[0][1] == pytest.approx([1 / 3] * 3)
    assert points[1][1] == [1.0] * 3


def test_a_seed_always_gives_the_same_and_seeds_differ_in_the_images_they_draw() -> None:
    curve = [dict(learning_curve(image_set(30), image_set(9), [2], 8, 0.0, RECIPE))[2] for _ in range(2)]
    assert curve[0] == curve[1]
    # Two images are of one class or of two.
    assert set(np.round(curve[0], 6)) == {0.333333, 0.666667}


def test_more_images_than_there_are_cannot_be_drawn() -> None:
    with pytest.raises(UserError, match="curve_sizes: 31 is above 30, the number of training images"):
        list(learning_curve(image_set(30), image_set(9), [3, 31], 1, 0.0, RECIPE))
