import contextlib
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from drawings import KINDS, redraw
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet, Preparation
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.pictures.preparation import _overlaps, prepare
from softmax_regression.sources.datasets import PREPARATIONS, bundled_digits
from softmax_regression.training.loop import cost_and_accuracy, fit
from softmax_regression.training.recipe import Recipe

MNIST = PREPARATIONS["mnist"]
BOX = Preparation("strokes", box=20)
SIZE = (28, 28)


def drawn(rows: int, columns: int, *strokes: tuple[int, int, int, int], paper: int = 255, ink: int = 0) -> np.ndarray:
    """Rectangles of ink on paper, each from top to bottom and from left to right."""
    grey = np.full((rows, columns), paper, np.uint8)
    for top, bottom, left, right in strokes:
        grey[top:bottom, left:right] = ink
    return grey


def test_the_box_of_the_ink_becomes_20_pixels_and_its_middle_the_images() -> None:
    prepared = prepare(drawn(100, 200, (30, 70, 110, 130)), SIZE, BOX)
    assert prepared.box == (110, 30, 130, 70)
    expected = np.zeros(SIZE, np.uint8)
    expected[4:24, 9:19] = 255
    np.testing.assert_array_equal(prepared.image, expected)


def test_a_pixel_that_the_ink_covers_in_part_has_that_part_of_its_level() -> None:
    # 30 by 20 pixels in a box of 30 by 30: a pixel of the image covers 1.5 by 1.5, those at 5 and 25 two thirds of ink.
    prepared = prepare(drawn(60, 60, (10, 40, 10, 30)), SIZE, BOX)
    assert prepared.image[14].tolist() == [0] * 7 + [170] + [255] * 12 + [170] + [0] * 7
    assert prepared.image[:, 14].tolist() == [0] * 4 + [255] * 20 + [0] * 4


def test_mnists_middle_is_the_centre_of_mass_moved_by_half_a_pixel_and_rounded_up() -> None:
    # An L of 20 by 20, its lines 4 wide: 16 by 4 at 2 from the left, 4 by 20 at 10; so (64·2 + 80·10) / 144 = 6.44.
    prepared = prepare(drawn(60, 60, (10, 26, 10, 14), (26, 30, 10, 30)), SIZE, Preparation("strokes", 20, "mass"))
    down, across = np.nonzero(prepared.image)
    assert (down.min(), across.min()) == (int(np.floor(15 - (64 * 8 + 80 * 18) / 144)), 8)  # 15 − 6.44


def test_the_middle_stays_where_the_box_would_leave_the_image() -> None:
    heavy_below = drawn(220, 220, (10, 180, 100, 104), (180, 210, 10, 210))
    prepared = prepare(heavy_below, SIZE, Preparation("strokes", 20, "mass"))
    assert np.nonzero(prepared.image.any(1))[0].max() <= 27
    assert (prepared.image > 0).sum() > 30


@pytest.mark.parametrize(
    ("paper", "ink", "inverted"), [(255, 0, True), (0, 255, False), (190, 60, True), (60, 190, False), (40, 10, True)]
)
def test_ink_is_told_from_paper_whichever_is_darker(paper: int, ink: int, inverted: bool) -> None:
    prepared = prepare(drawn(100, 200, (30, 70, 110, 130), paper=paper, ink=ink), SIZE, BOX)
    assert prepared.inverted == inverted
    np.testing.assert_array_equal(prepared.image, prepare(drawn(100, 200, (30, 70, 110, 130)), SIZE, BOX).image)


def test_something_small_on_a_large_picture_is_looked_at_from_closer() -> None:
    large = drawn(4000, 3000, (3001, 3080, 211, 250), (3041, 3049, 250, 290))
    small = drawn(120, 120, (20, 99, 20, 59), (60, 68, 59, 99))
    found, expected = prepare(large, SIZE, MNIST), prepare(small, SIZE, MNIST)
    assert abs(np.subtract(found.box, (211, 3001, 290, 3080))).max() <= 1
    assert np.abs(found.image.astype(int) - expected.image).mean() < 5


def test_a_shadow_is_levelled_and_the_grain_of_the_paper_left_out() -> None:
    random = np.random.default_rng(0)
    light = np.linspace(250, 120, 300) * np.ones((300, 1))
    strokes = drawn(300, 300, (60, 240, 140, 160), (60, 80, 90, 160)) == 0
    photo = light * np.where(strokes, 0.3, 1) + random.normal(0, 5, light.shape)
    found = prepare(photo.clip(0, 255).astype(np.uint8), SIZE, BOX)
    expected = prepare(drawn(300, 300, (60, 240, 140, 160), (60, 80, 90, 160)), SIZE, BOX)
    assert found.levelled and not expected.levelled
    assert np.abs(found.image.astype(int) - expected.image).mean() < 4
    assert (found.image[:, :9] == 0).all() and (found.image[:4] == 0).all()


STROKES = ((150, 350, 240, 262), (150, 172, 180, 262))


def photo(light: np.ndarray, *strokes: tuple[int, int, int, int]) -> np.ndarray:
    """Ink that reflects a third of the light, on paper as a camera sees it, uint8 [500, 500]."""
    inked = drawn(500, 500, *strokes) == 0
    levels = light * np.where(inked, 0.33, 1) + np.random.default_rng(0).normal(0, 5, (500, 500))
    return levels.clip(0, 255).astype(np.uint8)


def sharp_shadow() -> np.ndarray:
    light = np.full((500, 500), 200.0)
    light[380:, :140] = 110
    return light


def dark_table() -> np.ndarray:
    light = np.full((500, 500), 70.0)
    light[60:440, 70:450] = 210
    return light


@pytest.mark.parametrize("light", [sharp_shadow(), dark_table(), np.linspace(220, 90, 500) * np.ones((500, 1))])
def test_shadows_and_the_tables_edge_are_no_ink(light: np.ndarray) -> None:
    found = prepare(photo(light, *STROKES), SIZE, BOX)
    assert found.inverted and abs(np.subtract(found.box, (180, 150, 262, 350))).max() <= 5
    expected = prepare(drawn(500, 500, *STROKES), SIZE, BOX)
    assert np.abs(found.image.astype(int) - expected.image).mean() < 6


@pytest.mark.parametrize("light", [np.full((500, 500), 200.0), np.linspace(220, 90, 500) * np.ones((500, 1))])
def test_an_empty_sheet_is_refused_in_any_light(light: np.ndarray) -> None:
    with pytest.raises(UserError, match="nothing is drawn"):
        prepare(photo(light), SIZE, BOX)


def test_a_line_that_runs_out_of_the_picture_is_drawn_nevertheless() -> None:
    found = prepare(photo(np.full((500, 500), 200.0), (150, 500, 240, 262)), SIZE, BOX)
    assert abs(np.subtract(found.box, (240, 150, 262, 500))).max() <= 5


@pytest.mark.parametrize("shape", [(1, 3_000_000), (3_000_000, 1), (2, 1_000_000)])
def test_a_very_long_picture_takes_no_more_memory_than_it_has_pixels(shape: tuple[int, int]) -> None:
    line = np.full(shape, 255, np.uint8)
    line[: shape[0] // 3 + 1, : shape[1] // 3 + 1] = 0
    tracemalloc.start()
    with contextlib.suppress(UserError):
        prepare(line, SIZE, BOX)
    assert tracemalloc.get_traced_memory()[1] < 40 * line.size
    tracemalloc.stop()


def test_specks_of_dust_do_not_widen_the_box() -> None:
    dusty = drawn(200, 200, (60, 140, 80, 120), (5, 7, 190, 192), (195, 197, 3, 5))
    assert prepare(dusty, SIZE, BOX).box == (80, 60, 120, 140)


def test_thin_lines_are_thickened_up_to_mnists_ink_and_others_left_alone() -> None:
    hairline = drawn(400, 400, (50, 350, 200, 203), (50, 53, 100, 300), (347, 350, 100, 300))
    thin, thick = prepare(hairline, SIZE, MNIST), prepare(drawn(400, 400, (50, 350, 100, 300)), SIZE, MNIST)
    assert thin.thickened and not thick.thickened
    before = prepare(hairline, SIZE, Preparation("strokes", 20, "mass")).image
    assert before.sum() / 400 < thin.image.sum() / 400 <= 56


@pytest.mark.parametrize("grey", [np.full((50, 50), 255), np.zeros((1, 1)), drawn(90, 90, (40, 50, 40, 50), ink=240)])
def test_an_empty_picture_is_refused(grey: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"^nothing is drawn on it$"):
        prepare(grey.astype(np.uint8), SIZE, MNIST)


def test_an_object_keeps_its_levels_and_fills_the_frame() -> None:
    shirt = drawn(120, 120, (20, 100, 40, 80), ink=100)
    shirt[20:60, 40:80] = 200
    prepared = prepare(255 - shirt, SIZE, PREPARATIONS["fashion_mnist"])
    assert prepared.image[:14, 14].tolist() == [round(255 * 55 / 155)] * 14  # light of 55 and 155 beside the ground's 0
    assert prepared.image[14:, 14].tolist() == [255] * 14
    assert not prepared.levelled


def test_a_picture_is_scaled_and_not_cut() -> None:
    picture = np.zeros((40, 80), np.uint8)
    picture[:, :40] = 200
    prepared = prepare(picture, (20, 20), Preparation())
    assert prepared.image[5:15, :10].tolist() == [[200] * 10] * 10
    assert prepared.image.sum() == 200 * 100 and prepared.box == (0, 0, 80, 40)


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40))),
    st.sampled_from([*PREPARATIONS.values(), Preparation(), BOX]),
)
def test_whatever_the_picture_the_image_is_one_or_nothing_is_drawn(grey: np.ndarray, how: Preparation) -> None:
    size = (8, 8) if how.box == 8 else SIZE
    try:
        prepared = prepare(grey, size, how)
    except UserError:
        return
    left, top, right, bottom = prepared.box
    assert 0 <= left < right <= grey.shape[1] and 0 <= top < bottom <= grey.shape[0]
    assert prepared.image.shape == size and (how.shows == "picture" or prepared.image.max() >= 250)


@pytest.mark.parametrize(("length", "count"), [(7, 20), (160, 20), (20, 20), (1, 8), (33, 28)])
def test_overlaps_share_out_each_cell_and_fill_each_pixel(length: int, count: int) -> None:
    shared = _overlaps(length, count)
    assert (shared.sum(0) == count).all() and (shared.sum(1) == length).all()


def test_images_of_the_set_itself_stay_nearly_what_they_are(digits: tuple[ImageSet, SoftmaxRegression]) -> None:
    test, model = digits
    images = np.stack([prepare(image, (8, 8), PREPARATIONS["digits"]).image for image in test.images])
    assert cost_and_accuracy(model, replace(test, images=images))[1] >= 0.8


@pytest.fixture(scope="module")
def digits() -> tuple[ImageSet, SoftmaxRegression]:
    train, test = bundled_digits()
    return test.part(0, 100), fit(train, Recipe(lr=0.5))


@pytest.mark.parametrize("kind", KINDS)
def test_digits_redrawn_as_people_draw_are_recognised_as_the_images_are(
    kind: str, digits: tuple[ImageSet, SoftmaxRegression]
) -> None:
    test, model = digits
    random, how = np.random.default_rng(0), PREPARATIONS["digits"]
    # Enlarged first: of 8×8 pixels, which have no smooth lines, the drawing would be of squares.
    large = [np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BICUBIC)) for image in test.images]
    images = np.stack([image_or_nothing(redraw(image, kind, random), how) for image in large])
    _, accuracy = cost_and_accuracy(model, replace(test, images=images))
    # The soft digits that fill their sheet touch the table or the shadow.
    assert accuracy >= (0.75 if kind in ("corner", "table") else 0.85)
    assert cost_and_accuracy(model, test)[1] == 0.9


def image_or_nothing(grey: np.ndarray, how: Preparation) -> np.ndarray:
    try:
        return prepare(grey, (8, 8), how).image
    except UserError:
        return np.zeros((8, 8), np.uint8)
