import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from picture_files import bomb, encoded, levels, pack, png, two_classes, write
from PIL import Image

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet
from softmax_regression.pictures import reading
from softmax_regression.pictures.preparation import prepare
from softmax_regression.sources import decoding, own
from softmax_regression.sources.manifest import Line
from softmax_regression.sources.own import Imported, Wanted

AS_FOUND = Wanted(None, "auto", False)
BOMB = bomb(30_000, 30_000)
DIVIDED = {f"{part}/{path}": content for part in ("train", "test") for path, content in two_classes(4).items()}
DIVIDED = {path: png(at) for at, path in enumerate(DIVIDED)}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Found(NamedTuple):
    """An import, whose lines can be looked at again."""

    train: ImageSet
    test: ImageSet
    lines: list[Line]
    notes: list[str]


def imported(files: dict[str, bytes], wanted: Wanted = AS_FOUND) -> Found:
    write(Path("pics"), files)
    found = own.read("pics", wanted)
    return Found(found.train, found.test, list(found.lines), found.notes)


def refusal(files: dict[str, bytes]) -> list[str]:
    """The lines of what is said; none of it has a line or a letter that a terminal would obey."""
    with pytest.raises(UserError) as refused:
        imported(files)
    lines = str(refused.value).splitlines()
    assert all(line.isprintable() for line in lines)
    return [line.removeprefix("  ") for line in lines]


def link(path: str, to: str) -> Callable[[], None]:
    return lambda: Path("pics", path).symlink_to(to)


NFD, NFC = "cafe\N{COMBINING ACUTE ACCENT}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
NOTHING = "pics: nothing is imported:"
TWICE = "of pictures that are there twice delete one, or use all: -S allow_duplicates=true"
DAMAGED: dict[str, tuple[dict[str, bytes], Callable[[], object], str]] = {
    "an empty file": ({"cat/x.png": b""}, dict, "cat/x.png: is empty"),
    "a text": (
        {"cat/x.txt": b"cats are nice"},
        dict,
        "cat/x.txt: no picture that can be read: PNG, JPEG, GIF, WEBP, TIFF",
    ),
    "a text called .jpg": ({"cat/x.jpg": b"<html>404</html>"}, dict, "cat/x.jpg: no picture that can be read: PNG"),
    "a picture cut short": ({"cat/x.png": png(99, 40, 40)[:-300]}, dict, "cat/x.png: cannot be decoded: "),
    "a bomb": ({"cat/x.png": BOMB}, dict, "cat/x.png: far too many pixels, must be 50,000,000 at most"),
    "levels of 32 bits": (
        {"cat/x.tif": encoded(Image.fromarray(np.zeros((6, 4), np.float32)), "TIFF")},
        dict,
        "cat/x.tif: levels of 32 bits, must have 8 or 16",
    ),
    "a link out": ({}, link("cat/x.png", "/etc/passwd"), "cat/x.png: a link that leads to no file in the folder"),
    "a link to a folder": ({}, link("cow", "cat"), "cow: a link that leads to no file in the folder"),
    "a link to nothing": ({}, link("cat/x.png", "gone.png"), "cat/x.png: a link that leads to no file in the folder"),
    "a pipe": ({}, lambda: os.mkfifo("pics/cat/x.png"), "cat/x.png: neither a file nor a folder"),
    "a name with a new line": (
        {"cat/\n.png": png(99)},
        dict,
        "cat/ .png: a name with characters that cannot be printed",
    ),
    "an empty class": ({}, lambda: Path("pics/cow").mkdir(), "cow: a class without pictures"),
    "a picture of no class": ({"x.png": png(99)}, dict, "x.png: lies in no class's folder"),
    "a class twice": (
        {f"{NFD}/1.png": png(98), f"{NFC}/2.png": png(99)},
        dict,
        f"{NFC}: the same class as {NFD}, in another Unicode form",
    ),
    "a picture that no table lists": (
        {"metadata.csv": b"file_name,label\n" + b"".join(f"{path},{path[:3]}\n".encode() for path in two_classes())}
        | {"cat/x.png": png(99)},
        dict,
        "cat/x.png: not in metadata.csv or labels.csv",
    ),
    "a table that lists no picture": (
        {
            "metadata.csv": b"file_name,label\ncat/x.png,cat\n"
            + b"".join(f"{p},{p[:3]}\n".encode() for p in two_classes())
        },
        dict,
        "cat/x.png: listed in a table, but not there",
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_folder_is_refused_in_one_sentence(kind: str) -> None:
    files, damage, sentence = DAMAGED[kind]
    write(Path("pics"), two_classes())
    damage()
    first, *others = refusal(files)
    assert first == NOTHING and len(others) == 1 and others[0].startswith(sentence)


DIVIDED_DAMAGED: dict[str, tuple[dict[str, bytes], str, list[str]]] = {
    "a class in test alone": (
        {"test/cow/1.png": png(99)},
        "cow: a class with no picture to train on",
        [],
    ),
    "a folder beside": (
        {"more/cat/1.png": png(99)},
        "more: beside folders for training and testing",
        [],
    ),
    "a file in train and test": (
        {"test/cat/x.png": DIVIDED["train/cat/0.png"]},
        "test/cat/x.png and train/cat/0.png: in training and in test, the same file",
        [TWICE],
    ),
    "pixels in train and test": (
        {"test/cat/x.bmp": encoded(levels(0), "BMP")},
        "test/cat/x.bmp and train/cat/0.png: in training and in test, the same pixels in another file",
        [TWICE],
    ),
    "two classes for one picture": (
        {"train/dog/x.png": DIVIDED["train/cat/0.png"]},
        "train/cat/0.png and train/dog/x.png: two classes, the same file",
        [TWICE],
    ),
}


@pytest.mark.parametrize("kind", DIVIDED_DAMAGED)
def test_a_damaged_division_is_refused_in_one_sentence(kind: str) -> None:
    files, sentence, advice = DIVIDED_DAMAGED[kind]
    assert refusal(DIVIDED | files) == [NOTHING, sentence, *advice]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"cat/1.png": png(0)}, "number of classes: 1, must be 2 to 1,000"),
        ({f"{i}/1.png": png(i) for i in range(1001)}, "number of classes: 1,001, must be 2 to 1,000"),
    ],
)
def test_too_few_or_many_classes_are_refused(files: dict[str, bytes], sentence: str) -> None:
    assert refusal(files) == [NOTHING, sentence]


@pytest.mark.parametrize("files", [{}, {"README.md": b"nothing"}, {".DS_Store": b""}])
def test_a_folder_without_pictures_is_refused(files: dict[str, bytes]) -> None:
    Path("pics").mkdir()
    assert refusal(files) == ["pics: no pictures in folders named by their classes, such as pics/cat/1.png"]


def test_one_picture_of_each_class_is_too_few() -> None:
    sentence = "pics: no class has two different pictures, one to train and one to test on"
    assert refusal({"cat/1.png": png(0), "dog/1.png": png(1)}) == [sentence]


def test_pictures_of_no_class_alone_are_counted() -> None:
    sentence = "pics: no pictures in folders named by their classes, such as pics/cat/1.png; 30 lie in none"
    assert refusal({f"{i}.png": png(i) for i in range(30)}) == [sentence]


def test_a_folder_of_problems_alone_is_refused_with_them() -> None:
    Path("pics/cat").mkdir(parents=True)
    assert refusal({}) == [NOTHING, "cat: a class without pictures"]


@pytest.mark.parametrize("content", [b"", b"cats", BOMB])
def test_a_file_that_holds_no_pictures_is_refused(content: bytes) -> None:
    Path("pics").write_bytes(content)
    with pytest.raises(
        UserError, match=r"^pics: neither a folder, a zip, a tar, \.npz nor \.parquet, or a damaged one$"
    ):
        own.read("pics", AS_FOUND)
    with pytest.raises(UserError, match=r"^nowhere: cannot be read: No such file or directory$"):
        own.read("nowhere", AS_FOUND)


def test_all_that_is_wrong_is_told_at_once() -> None:
    files = two_classes(150) | {f"cat/bad{i}.png": b"bad" for i in range(80)} | {"dog/empty.png": b""}
    files |= {"dog/cat.png": files["cat/0.png"]}
    _, *told = refusal(files)
    assert len(told) == 83 and told[-3] == "dog/empty.png: is empty"
    assert told[-2:] == ["cat/0.png and dog/cat.png: two classes, the same file", TWICE]


def labels_of(images: ImageSet) -> list[str]:
    return [images.classes[label] for label in images.labels]


def test_a_folder_becomes_image_sets_a_fifth_to_test_on() -> None:
    files = two_classes(10)
    found = imported(files)
    assert (len(found.train), len(found.test), found.train.classes) == (16, 4, ("cat", "dog"))
    assert sorted(labels_of(found.test)) == ["cat", "cat", "dog", "dog"]
    wanted = {path: np.asarray(Image.open(io.BytesIO(content))) for path, content in files.items()}
    shown = [*found.train.images, *found.test.images]
    for line, label, image in zip(found.lines, labels_of(found.train) + labels_of(found.test), shown, strict=True):
        np.testing.assert_array_equal(image, wanted.pop(line.path))
        assert line.label == label == line.path[:3] and line.size == "6x4" and line.done == ""
    assert wanted == {} and found.notes == []
    assert found.train.preparation.shows == "picture" and found.train.dataset == "pics"


def as_bytes(found: Imported | Found, name: str) -> bytes:
    for part in ("train", "test"):
        getattr(found, part).save(Path(f"{name}-{part}"))
    return Path(f"{name}-train").read_bytes() + Path(f"{name}-test").read_bytes()


@pytest.mark.parametrize("form", ["zip", "tar", "gztar"])
@pytest.mark.parametrize("files", [two_classes(10), DIVIDED], ids=["undivided", "divided"])
def test_an_archive_gives_the_bytes_of_its_folder(form: str, files: dict[str, bytes], tmp_path: Path) -> None:
    folder = as_bytes(imported(files), "folder")
    (tmp_path / "other").mkdir()
    os.chdir(tmp_path / "other")
    pack(tmp_path / "pics", form, Path("pics"))
    assert as_bytes(own.read("pics", AS_FOUND), "archive") == folder


def test_neither_names_nor_order_change_the_images() -> None:
    before = as_bytes(imported(two_classes(10)), "before")
    for number, path in enumerate(sorted(Path("pics").rglob("*.png"))):
        path.rename(path.with_name(f"{(number * 7) % 20}-other.PNG"))
    assert as_bytes(own.read("pics", AS_FOUND), "after") == before


def test_a_changed_picture_changes_the_images() -> None:
    before = imported(two_classes(10)).train.source
    assert own.read("pics", AS_FOUND).train.source == before
    changed = imported({"cat/1.png": png(1000), "dog/1.png": png(1001)})
    assert before != changed.train.source


def test_classes_missing_in_test_keep_their_numbers() -> None:
    files = {f"train/{label}/{i}.png": png(10 * label + i) for label in (2, 10, 9) for i in range(3)}
    found = imported(files | {"test/10/0.png": png(99)})
    assert found.train.classes == found.test.classes == ("2", "9", "10")
    assert found.test.labels.tolist() == [2]
    assert found.notes == ["no picture to test on: 2, 9"]


def test_a_class_with_one_picture_is_trained_on_and_told() -> None:
    found = imported(two_classes(5) | {"cow/1.png": png(99)})
    assert labels_of(found.train).count("cow") == 1 and "cow" not in labels_of(found.test)
    assert found.notes == ["no picture to test on: cow"]


def test_heavy_imbalance_is_told() -> None:
    files = {f"cat/{i}.png": png(i) for i in range(60)} | {f"dog/{i}.png": png(100 + i) for i in range(5)}
    assert imported(files).notes == ["heavy imbalance: 48 pictures of cat, 4 of dog"]


def test_pictures_for_validation_are_those_that_are_held_out() -> None:
    valid = {f"val/{path}": png(500 + at) for at, path in enumerate(two_classes(3))}
    found = imported(DIVIDED | valid)
    assert [line.path.split("/")[0] for line in found.lines] == ["train"] * 8 + ["val"] * 6 + ["test"] * 8
    kept, held_out = found.train.hold_out(0.5)
    assert (len(kept), len(held_out), held_out.set_aside) == (8, 6, 0)
    assert found.notes == ["for validation: the 6 pictures that were divided off for it, instead of a share"]
    alone = {path.replace("test/", "val/"): content for path, content in DIVIDED.items()}
    os.chdir(write(Path("other"), {f"pics/{path}": content for path, content in alone.items()}))
    train, test, _, notes = own.read("pics", AS_FOUND)
    assert (len(train), train.set_aside, len(test)) == (8, 0, 8)
    assert notes == ["to test on: the pictures that were divided off for validation, as there are no others"]


def test_mixed_numbers_are_an_order_and_others_are_none() -> None:
    files = {f"train/{'ab'[i % 2]}/{i}.png": png(i) for i in range(20)} | {
        f"test/{c}/{i}.png": png(90 + i) for i, c in enumerate("ab")
    }
    assert [line.path for line in imported(files).lines[:20]] == [f"train/{'ab'[i % 2]}/{i}.png" for i in range(20)]
    by_class = {f"train/{'ab'[i // 10]}/{i}.png": png(i) for i in range(20)} | {
        "test/a/1.png": png(90),
        "test/b/2.png": png(91),
    }
    os.chdir(write(Path("other"), {f"pics/{path}": content for path, content in by_class.items()}))
    found = own.read("pics", AS_FOUND)
    assert found.train.labels[-4:].tolist() in ([0, 1, 0, 1], [1, 0, 1, 0])


def test_duplicates_are_used_where_that_is_wanted() -> None:
    wanted = Wanted(None, "auto", allow_duplicates=True)
    found = imported(DIVIDED | {"test/cat/x.png": DIVIDED["train/cat/0.png"]}, wanted)
    assert (len(found.train), len(found.test)) == (8, 9)
    (note,) = found.notes
    assert note == "used all the same: test/cat/x.png and train/cat/0.png: in training and in test, the same file"


def test_equal_pictures_of_one_class_stay_in_one_part() -> None:
    files = two_classes(10) | {f"cat/copy{i}.png": two_classes()["cat/0.png"] for i in range(4)}
    found = imported(files)
    parts = {line.part for line in found.lines if "copy" in line.path or line.path == "cat/0.png"}
    assert len(parts) == 1


PHOTO = levels(7, 8, 12, 3)
PALETTE = Image.fromarray(PHOTO).quantize(16)
CASES: dict[str, tuple[bytes, np.ndarray, str]] = {
    "16 bits.png": (
        encoded(Image.fromarray(levels(1).astype(np.uint16) * 257)),
        levels(1),
        "16 bits a pixel",
    ),
    "palette.png": (encoded(PALETTE), np.asarray(PALETTE.convert("RGB")), ""),
    "alpha.png": (
        encoded(np.dstack([PHOTO, np.full((8, 12), 0, np.uint8)])),
        np.full((8, 12, 3), 255, np.uint8),
        "transparency put on white",
    ),
    "cmyk.jpg": (encoded(Image.new("CMYK", (12, 8)), "JPEG"), np.full((8, 12, 3), 255, np.uint8), ""),
    "animated.gif": (
        encoded(Image.new("L", (12, 8), 50), "GIF", save_all=True, append_images=[Image.new("L", (12, 8), 90)]),
        np.full((8, 12), 50, np.uint8),
        "the first of several frames",
    ),
    "gif called.jpg": (encoded(Image.new("L", (12, 8), 50), "GIF"), np.full((8, 12), 50, np.uint8), ""),
    "1 bit.png": (encoded(Image.new("1", (12, 8), 1)), np.full((8, 12), 255, np.uint8), ""),
    f"{'long ' * 39}'\"$x$ ü.png": (png(3), levels(3), ""),
}


@pytest.mark.parametrize("name", CASES)
def test_pictures_are_read_as_they_are_meant(name: str) -> None:
    content, expected, done = CASES[name]
    files = {f"cat/{name}": content, "cat/2.png": png(50), "dog/1.png": png(51), "dog/2.png": png(52)}
    found = imported(files, Wanted(expected.shape[:2], "rgb" if expected.ndim == 3 else "grey", False))
    (row,) = [row for row, line in enumerate(found.lines) if line.path == f"cat/{name}"]
    image = np.concatenate([found.train.images, found.test.images])[row]
    np.testing.assert_array_equal(image, expected)
    assert found.lines[row].done == done


def test_a_turned_photo_counts_as_it_was_held() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {f"cat/{i}.jpg": encoded(levels(i, 8, 12, 3), "JPEG", exif=exif) for i in range(5)}
    found = imported(files | {"dog/1.png": png(0, 12, 8, 3), "dog/2.png": png(1, 12, 8, 3)})
    assert found.train.image_size == (12, 8, 3)
    assert "5 pictures turned as the camera was held" in found.notes


def test_the_most_common_size_is_taken_and_colour_if_any_has_it() -> None:
    files = {f"{label}/{i}.png": png(i + 100 * at, 6, 4) for at, label in enumerate("ab") for i in range(30)}
    files |= {f"c/{i}.png": png(i + 300, 9, 9) for i in range(50)} | {"d/1.png": png(400, 5, 5, 3)}
    found = imported(files)
    assert found.train.image_size == (6, 4, 3) and "51 pictures scaled" in found.notes
    grey = imported({}, Wanted((3, 5), "grey", False))
    assert grey.train.image_size == (3, 5) and "1 pictures made grey; scaled" in grey.notes


def test_large_pictures_are_scaled_down_with_their_proportions() -> None:
    files = {f"{label}/{i}.png": png(i + 10 * at, 300, 600) for at, label in enumerate("ab") for i in range(2)}
    assert imported(files).train.image_size == (128, 256)


def test_what_is_left_beside_a_scaled_picture_is_black() -> None:
    white = encoded(np.full((10, 20), 255, np.uint8))
    grey = encoded(np.full((10, 20), 200, np.uint8))
    found = imported({"a/1.png": white, "b/1.png": grey, "b/2.png": png(0)}, Wanted((8, 8), "auto", False))
    (image,) = found.train.images[found.train.labels == 0]
    np.testing.assert_array_equal(image, [[0] * 8] * 2 + [[255] * 8] * 4 + [[0] * 8] * 2)


def test_many_pictures_are_decoded_in_other_processes_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    in_processes = as_bytes(imported(two_classes(150)), "processes")
    monkeypatch.setattr("softmax_regression.sources.decoding.FEW", 1000)
    assert as_bytes(imported({}), "alone") == in_processes


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(UserError, match="No space left on device; set TMPDIR to a folder with 0 MiB of room"):
        imported(two_classes())


def test_a_picture_is_prepared_for_prediction_as_it_was_for_training() -> None:
    files = {f"{label}/{i}.png": png(10 * i + at, 9 + i, 14 - i, 3) for at, label in enumerate("ab") for i in range(5)}
    found = imported(files, Wanted((5, 7), "rgb", False))
    images = np.concatenate([found.train.images, found.test.images])
    for line, image in zip(found.lines, images, strict=True):
        levels_read = reading.read(files[line.path], in_colour=True).levels
        np.testing.assert_array_equal(prepare(levels_read, (5, 7, 3), found.train.preparation).image, image)


def test_neither_size_nor_colour_changes_what_is_tested_on() -> None:
    files = {f"{label}/{i}.png": png(10 * i + at, 6, 4, 3) for at, label in enumerate("ab") for i in range(10)}
    tested = [
        [line.path for line in imported(files, Wanted(size, colour, False)).lines if line.part == "test"]
        for size, colour in ((None, "auto"), (None, "grey"), ((3, 3), "rgb"))
    ]
    assert tested[0] == tested[1] == tested[2] and len(tested[0]) == 4


def test_a_picture_in_training_and_for_validation_is_refused() -> None:
    files = DIVIDED | {"val/cat/x.png": DIVIDED["train/cat/0.png"]}
    sentence = "train/cat/0.png and val/cat/x.png: in training and for validation, the same file"
    assert refusal(files) == [NOTHING, sentence, TWICE]


def test_a_process_that_is_killed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_begin", kill_itself)
    with pytest.raises(UserError, match=r"^a process that decodes pictures was killed: is there too little memory\?$"):
        imported(two_classes(150))


def kill_itself(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_settings_are_refused_for_a_set_of_torchvision() -> None:
    with pytest.raises(UserError, match=r"^image_size and colour are for your own pictures: torchvision/usps is taken"):
        own.read("torchvision/usps", Wanted((8, 8), "auto", False))


def test_a_stray_parquet_beside_classes_is_passed_over() -> None:
    found = imported(two_classes() | {"features.parquet": b"PAR1", "cat/.hidden.parquet": b""})
    assert len(found.train) + len(found.test) == 10
