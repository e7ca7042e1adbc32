import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_files import bomb, encoded
from PIL import Image

from softmax_regression.base.errors import UserError
from softmax_regression.pictures import reading

RAMP = np.arange(200, dtype=np.uint8).reshape(10, 20)


@pytest.mark.parametrize("form", reading.FORMATS)
def test_each_format_gives_the_levels_that_were_saved(form: str) -> None:
    settings: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}
    picture = reading.read(encoded(Image.fromarray(RAMP), form, **settings.get(form, {})))
    assert picture.levels.dtype == np.uint8 and picture.notes == ()
    np.testing.assert_allclose(picture.levels.astype(int), RAMP, atol=2 if form == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["RGB", "P", "CMYK", "1", "LA", "RGBA"])
def test_colours_become_grey(mode: str) -> None:
    white = Image.new("L", (6, 4), 255).convert(mode)
    form = "TIFF" if mode == "CMYK" else "PNG"
    assert (reading.read(encoded(white, form)).levels == 255).all()


def test_red_green_and_blue_are_as_bright_as_they_look() -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert reading.read(encoded(Image.fromarray(colours))).levels.tolist() == [[76, 150, 29]]  # ITU-R BT.601


def test_transparency_is_put_on_white() -> None:
    black = np.zeros((1, 3, 4), np.uint8)
    black[0, :, 3] = 0, 100, 255
    picture = reading.read(encoded(Image.fromarray(black)))
    assert picture.levels.tolist() == [[255, 155, 0]]
    assert picture.notes == ("transparency put on white",)
    black[0, :, 3] = 255
    assert reading.read(encoded(Image.fromarray(black))).notes == ()
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([0, 0, 0, 10, 10, 10])
    assert reading.read(encoded(palette, transparency=0)).levels.tolist() == [[255, 10]]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_a_picture_is_turned_as_the_camera_was_held(form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = reading.read(encoded(Image.fromarray(RAMP), form, exif=exif, lossless=True))
    np.testing.assert_array_equal(picture.levels, np.rot90(RAMP, -1))
    assert picture.notes == ("turned as the camera was held",)


def test_of_several_frames_the_first_is_taken_and_that_is_said() -> None:
    frames = [Image.fromarray(np.full((4, 4), level, np.uint8)) for level in (10, 200)]
    picture = reading.read(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert (picture.levels == 10).all() and picture.notes == ("the first of several frames",)


def test_levels_of_16_bits_keep_their_place_in_the_range() -> None:
    deep = np.array([[0, 257, 32896, 65535]], np.uint16)
    assert reading.read(encoded(Image.fromarray(deep))).levels.tolist() == [[0, 1, 128, 255]]
    assert reading.read(encoded(Image.fromarray(deep))).notes == ("16 bits a pixel",)
    with pytest.raises(UserError, match="levels of 32 bits, must have 8 or 16"):
        reading.read(encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))


def test_a_large_photo_is_reduced_while_it_is_decoded() -> None:
    photo = Image.new("RGB", (6000, 4000), (200, 200, 200))
    picture = reading.read(encoded(photo, "JPEG"))
    assert (picture.levels.shape, picture.reduction) == ((2000, 3000), 2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"no picture", "no picture that can be read: PNG, JPEG, GIF, WEBP, TIFF, BMP can; save HEIC as JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "no picture that can be read"),
        (bomb(30_000, 30_000), "far too many pixels, must be 50,000,000 at most"),
        (bomb(10_000, 9_000), "10,000×9,000 pixels, must be 50,000,000 at most"),
        (bomb(100, 100), "cannot be decoded: "),
        (encoded(Image.fromarray(RAMP))[:-30], "cannot be decoded: "),
        (bytes(reading.MOST_BYTES + 1), "more than 33,554,432 bytes"),
    ],
)
def test_what_is_no_sound_picture_is_refused_in_a_sentence(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "file.png").write_bytes(content)
    for source in (content, tmp_path / "file.png"):
        with pytest.raises(UserError) as refused:
            reading.read(source)
        assert str(refused.value).startswith(reason) and "\n" not in str(refused.value)


SOUND = [encoded(Image.fromarray(RAMP), form) for form in reading.FORMATS]


@given(st.sampled_from(SOUND), st.integers(0, 400), st.integers(0, 20), st.binary(max_size=20))
def test_any_damage_is_refused_or_leaves_a_picture(content: bytes, place: int, cut: int, new: bytes) -> None:
    try:
        picture = reading.read(content[:place] + new + content[place + cut :])
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert picture.levels.dtype == np.uint8 and picture.levels.ndim == 2


def test_a_pipe_is_read_as_a_file_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=[SOUND[0]]).start()
    np.testing.assert_array_equal(reading.read(pipe).levels, RAMP)


def test_pixels_are_counted_from_the_first_bytes() -> None:
    assert reading.count_pixels(bomb(10_000, 9_000)) == 90_000_000
    assert reading.count_pixels(bomb(100_000, 100_000)) == reading.count_pixels(b"no picture") == 0
