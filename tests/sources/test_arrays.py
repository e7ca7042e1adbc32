import gzip
import io
import pickle
import re
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softmax_regression.base.errors import UserError
from softmax_regression.sources import arrays
from softmax_regression.sources.collection import TEST, TRAIN, UNDIVIDED, VALID, Collection


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    """An IDX file: two zeros, the kind of element (8: unsigned byte), the dimensions and their sizes, the elements."""
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


GREY = np.random.default_rng(0).integers(0, 256, (7, 3, 2), dtype=np.uint8)
RGB = np.random.default_rng(1).integers(0, 256, (5, 3, 2, 3), dtype=np.uint8)
SEVEN = np.array([2, 0, 10, 1, 2, 0, 10])
PAIR = {"x": GREY, "y": SEVEN}


def savez(path: Path, **members: Any) -> Path:
    np.savez(path, **members)
    return path


def assert_holds(collection: Collection, *expected: np.ndarray) -> None:
    """The contents are these stacks of images, each time that they are asked for, as arrays that can be hashed."""
    images = [image for stack in expected for image in stack]
    for _ in range(2):
        contents = list(collection.contents())
        assert len(contents) == len(images) == len(collection.names)
        for content, image in zip(contents, images, strict=True):
            assert isinstance(content, np.ndarray) and content.dtype == np.uint8 and content.flags.c_contiguous
            np.testing.assert_array_equal(content, image)


def refusal(path: Path) -> str:
    """Why a file or folder is refused, at once or when its images are read."""
    with pytest.raises(UserError) as refused:
        collection = arrays.collect_idx(path) if path.is_dir() else arrays.collect_npz(path)
        list(collection.contents())
    told = str(refused.value)
    assert told.isprintable() and told.startswith(str(path))
    return told.removeprefix(f"{path}")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_keras_npz_has_images_to_train_and_to_test_on(save: Any, tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    save(path, x_test=GREY[:2], x_train=GREY, y_train=SEVEN.astype(np.uint8), y_test=SEVEN[:2].astype(np.uint8))
    found = arrays.collect_npz(path)
    assert found.names == [*(f"x_train[{row}]" for row in range(7)), "x_test[0]", "x_test[1]"]
    assert found.labels == ["2", "0", "10", "1", "2", "0", "10", "2", "0"]
    assert found.parts == [TRAIN] * 7 + [TEST] * 2
    assert list(found.numbers) == list(range(9))
    assert (found.classes, found.problems, found.notes) == ((), (), ())
    assert_holds(found, GREY, GREY[:2])


def test_medmnist_npz_has_images_to_validate_on_and_a_column_of_labels(tmp_path: Path) -> None:
    labels = np.array([[1], [0], [0], [3], [1]], np.uint8)
    parts = {"train": slice(5), "val": slice(2), "test": slice(1, 4)}
    members = {f"{part}_images": RGB[rows] for part, rows in parts.items()}
    members |= {f"{part}_labels": labels[rows] for part, rows in parts.items()}
    found = arrays.collect_npz(savez(tmp_path / "pathmnist.npz", **members))
    assert found.parts == [TRAIN] * 5 + [VALID] * 2 + [TEST] * 3
    assert found.names[4:8] == ["train_images[4]", "val_images[0]", "val_images[1]", "test_images[0]"]
    assert "".join(found.labels) == "10031" + "10" + "003"
    assert_holds(found, RGB, RGB[:2], RGB[1:4])


@pytest.mark.parametrize(("images", "labels"), [("images", "labels"), ("x", "y"), ("x_train", "y_train")])
def test_images_without_a_test_set_are_undivided(images: str, labels: str, tmp_path: Path) -> None:
    found = arrays.collect_npz(savez(tmp_path / "own.npz", **{images: GREY, labels: SEVEN}))
    assert (found.names[6], found.parts) == (f"{images}[6]", [UNDIVIDED] * 7)
    assert_holds(found, GREY)


SIXTEEN = np.array([0, 1, 128, 129, 255, 256, 257, 32767, 65278, 65279, 65535, 40000], np.uint16).reshape(2, 3, 2)
# The nearest of 0 to 255, as 65535 = 255 × 257.
EIGHT = np.array([0, 0, 0, 1, 1, 1, 1, 127, 254, 254, 255, 156], np.uint8).reshape(2, 3, 2)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (GREY[..., None], GREY),
        (RGB[..., :1], RGB[..., 0]),
        (GREY > 99, np.where(GREY > 99, 255, 0)),
        (SIXTEEN, EIGHT),
        (SIXTEEN.astype(">u2"), EIGHT),
        (np.asfortranarray(GREY), GREY),
        (np.asfortranarray(RGB), RGB),
        (np.asfortranarray(SIXTEEN), EIGHT),
    ],
    ids=["one colour", "a slice", "bool", "16 bits", "16 bits, big-endian", "Fortran", "Fortran RGB", "Fortran 16"],
)
@pytest.mark.parametrize("batch", [1, 40, 2**20])
def test_images_of_each_type_and_order_become_levels(
    images: np.ndarray, expected: np.ndarray, batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "BATCH", batch)
    found = arrays.collect_npz(savez(tmp_path / "own.npz", x=images, y=SEVEN[: len(images)]))
    assert_holds(found, expected)
    assert found.notes == (("x: 16 bits a pixel, 65535 became 255",) if images.dtype.itemsize == 2 else ())


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.array([3, -1, 2**40, 3, 0, 0, 0]), ["3", "-1", "1099511627776", "3", "0", "0", "0"]),
        (
            np.array(["cat", "dog", "e\u0301", "cat", "\u00e9", "a b", "dog"]),
            ["cat", "dog", "é", "cat", "é", "a b", "dog"],
        ),
        (np.array([b"cat", b"dog", "é".encode(), b"cat", b"x", b"x", b"x"]), ["cat", "dog", "é", "cat", "x", "x", "x"]),
        (SEVEN == 2, ["True", "False", "False", "False", "True", "False", "False"]),
        (SEVEN.astype(">u4")[:, None], ["2", "0", "10", "1", "2", "0", "10"]),
    ],
    ids=["integers", "text", "bytes", "bool", "big-endian column"],
)
def test_labels_are_integers_or_text(labels: np.ndarray, expected: list[str], tmp_path: Path) -> None:
    found = arrays.collect_npz(savez(tmp_path / "own.npz", x=GREY, y=labels))
    assert found.labels == expected


SHAPES = "must be uint8, uint16 or bool [N > 0, rows, columns], [N, rows, columns, 1] or [N, rows, columns, 3]"
ROUND = "; bring its levels to 0 to 255 and round them"
PAIRS = "x_train and y_train, or train_images and train_labels, or images and labels, or x and y"


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"x": GREY / 255, "y": SEVEN}, f": x: holds float64 [7, 3, 2], {SHAPES}{ROUND}"),
        ({"x": GREY.astype(np.int32), "y": SEVEN}, f": x: holds int32 [7, 3, 2], {SHAPES}{ROUND}"),
        (
            {"x": RGB.transpose(0, 3, 1, 2), "y": SEVEN[:5]},
            f": x: holds uint8 [5, 3, 3, 2], {SHAPES}; put the colours last",
        ),
        ({"x": GREY[:, None], "y": SEVEN}, f": x: holds uint8 [7, 1, 3, 2], {SHAPES}; put the colours last"),
        ({"x": np.zeros((7, 4, 4, 4), np.uint8), "y": SEVEN}, f": x: holds uint8 [7, 4, 4, 4], {SHAPES}"),
        ({"x": GREY.reshape(7, 6), "y": SEVEN}, f": x: holds uint8 [7, 6], {SHAPES}"),
        ({"x": GREY[:0], "y": SEVEN[:0]}, f": x: holds uint8 [0, 3, 2], {SHAPES}"),
        ({"x": GREY[:, :0], "y": SEVEN}, f": x: holds uint8 [7, 0, 2], {SHAPES}"),
        (
            {"x": np.zeros((1, 10_000, 5_001), bool), "y": SEVEN[:1]},
            ": x: 5,001×10,000 pixels an image, must be 50,000,000 at most",
        ),
        ({"x": GREY, "y": SEVEN[:6]}, ": y: holds 6 labels, must be 7, as there are images"),
        ({"x": GREY, "y": np.eye(7, 4, dtype=int)}, ": y: holds 4 labels for each image, must be one"),
        ({"x": GREY, "y": SEVEN / 2}, ": y: holds float64 [7], must be integers or text [7]"),
        ({"x": GREY, "y": np.array(3)}, ": y: holds int64 [], must be integers or text [7]"),
        (
            {"x": GREY, "y": np.array(list("abcdefg"), object)},
            ": y: holds Python objects, which are not read, as they may run code; save it as astype(str)",
        ),
        ({"x": GREY, "y": np.array(list("abc efg"))}, ": y: holds ' ' at [3], must be text that can be printed"),
        ({"x": GREY, "y": np.array(list("abcd\nfg"))}, r": y: holds '\n' at [4], must be text that can be printed"),
        ({"x": GREY}, ": y is missing: it has x"),
        ({"x_train": GREY, "y_train": SEVEN, "y_test": SEVEN}, ": x_test is missing: it has x_train, y_test, y_train"),
        ({"weights": GREY}, f": has weights, must have either {PAIRS}"),
        ({**PAIR, "images": GREY}, f": has images, x, y, must have either {PAIRS}"),
        ({}, f": has no arrays, must have either {PAIRS}"),
    ],
)
def test_what_is_not_allowed_is_refused_in_a_sentence(members: Any, told: str, tmp_path: Path) -> None:
    assert refusal(savez(tmp_path / "own.npz", **members)) == told


def test_other_arrays_are_passed_over(tmp_path: Path) -> None:
    found = arrays.collect_npz(savez(tmp_path / "own.npz", **PAIR, writers=SEVEN, dates=np.array([None], object)))
    assert found.notes == ("passed over: dates, writers",)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


class Treacherous:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("/tmp/was-run"),)  # noqa: S108


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (npy(GREY)[:-1], ": x: its length does not fit its header"),
        (npy(GREY) + b"\0", ": x: its length does not fit its header"),
        (npy(GREY).replace(b"(7, 3, 2)", b"(7,33, 2)"), ": x: its length does not fit its header"),
        (npy(GREY).replace(b"(7, 3, 2)", b"(-7,3, 2)"), f": x: holds uint8 [-7, 3, 2], {SHAPES}"),
        (npy(GREY).replace(b"}", b"("), ": x: its header is damaged"),
        (npy(GREY)[:20], ": x: EOF: reading array header"),
        (b"", ": x: EOF: reading magic string"),
        (b"GIF89a" + bytes(99), ": x: the magic string is not correct"),
        (b"\x93NUMPY\x03\x00" + npy(GREY)[8:], ": x: version 3.0 of numpy's format, must be 1.0 or 2.0"),
        (pickle.dumps(Treacherous()), ": x: the magic string is not correct"),
        (npy(np.array([Treacherous()] * 7)), f": x: holds object [7], {SHAPES}"),
    ],
    ids=[
        "short",
        "long",
        "more rows",
        "negative",
        "no header",
        "half a header",
        "empty",
        "a picture",
        "version",
        "pickle",
        "objects",
    ],
)
def test_a_member_that_is_no_array_is_refused_and_no_pickle_is_run(content: bytes, told: str, tmp_path: Path) -> None:
    assert refusal(zipped(tmp_path / "own.npz", x=content, y=npy(SEVEN))).startswith(told)
    assert not Path("/tmp/was-run").exists()  # noqa: S108


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, ": cannot be read: No such file or directory"),
        (b"", ": File is not a zip file"),
        (npy(GREY), ": File is not a zip file"),
    ],
    ids=["missing", "empty", "npy"],
)
def test_what_is_no_npz_is_refused(content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "own.npz").write_bytes(content)
    assert refusal(tmp_path / "own.npz") == told


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sound")
    np.savez(folder / "stored.npz", x=GREY, y=SEVEN)
    np.savez_compressed(folder / "deflated.npz", x=GREY, y=SEVEN)
    return {path.stem: path.read_bytes() for path in folder.iterdir()}


@given(
    how=st.sampled_from(["stored", "deflated"]),
    place=st.integers(0, 999),
    cut=st.integers(0, 9),
    new=st.binary(max_size=9),
)
def test_any_damage_to_an_npz_is_refused_or_changes_nothing(
    how: str, place: int, cut: int, new: bytes, sound: dict[str, bytes], tmp_path: Path
) -> None:
    content = sound[how]
    path = tmp_path / "own.npz"
    path.write_bytes(content[:place] + new + content[place + cut :])
    try:
        found = arrays.collect_npz(path)
        assert_holds(found, GREY)
        assert found.labels == [str(label) for label in SEVEN]
    except UserError as error:
        assert str(error).isprintable()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_few_images_are_held_at_a_time(save: Any, tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    save(path, x=np.tile(np.arange(256, dtype=np.uint8), (60_000, 4, 1)), y=np.zeros(60_000, int))
    tracemalloc.start()
    found = arrays.collect_npz(path)
    total = sum(int(content[3, 255]) for content in found.contents() if isinstance(content, np.ndarray))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 255 * 60_000
    assert peak < 15 * 2**20 < 60_000 * 1024 / 3  # most of it the names


def test_labels_beyond_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = savez(tmp_path / "own.npz", **PAIR)
    monkeypatch.setattr(arrays, "LIMIT", 100)
    assert refusal(path) == ": y: holds 184 bytes, must be 100 at most"


# IDX


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
BYTES = SEVEN.astype(np.uint8)


def fill(folder: Path, **files: bytes) -> Path:
    """Files by names in which _ stands for -, as keywords have no -, and __gz for .gz."""
    for name, content in files.items():
        name = name.replace("__gz", ".gz").replace("_", "-")
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return folder


def both(prefix: str = "", suffix: str = "", parts: tuple[str, str] = ("train", "t10k")) -> dict[str, bytes]:
    """MNIST's four files: 7 images to train on, and 2 to test on."""
    return {
        f"{prefix}{part}_{what}{suffix}": idx(array[:count])
        for part, count in zip(parts, (7, 2), strict=True)
        for what, array in (("images_idx3_ubyte", GREY), ("labels_idx1_ubyte", BYTES))
    }


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnists_four_files_are_paired(suffix: str, tmp_path: Path) -> None:
    found = arrays.collect_idx(fill(tmp_path, **both(suffix=suffix.replace(".", "__"))))
    assert found.names[:1] + found.names[6:8] == [
        f"{IMAGES}{suffix}[0]",
        f"{IMAGES}{suffix}[6]",
        f"t10k-images-idx3-ubyte{suffix}[0]",
    ]
    assert found.labels == ["2", "0", "10", "1", "2", "0", "10", "2", "0"]
    assert found.parts == [TRAIN] * 7 + [TEST] * 2
    assert list(found.numbers) == list(range(9))
    assert (found.classes, found.problems, found.notes) == ((), (), ())
    assert_holds(found, GREY, GREY[:2])


def test_a_training_set_alone_is_undivided(tmp_path: Path) -> None:
    found = arrays.collect_idx(
        fill(tmp_path, train_images_idx3_ubyte=idx(GREY), train_labels_idx1_ubyte__gz=idx(BYTES))
    )
    assert found.parts == [UNDIVIDED] * 7
    assert_holds(found, GREY)


def test_names_with_a_dot_are_known_too(tmp_path: Path) -> None:
    (tmp_path / "train-images.idx3-ubyte").write_bytes(idx(GREY))
    (tmp_path / "train-labels.idx1-ubyte").write_bytes(idx(BYTES))
    (tmp_path / IMAGES).mkdir()  # as in a well-known archive, which holds all twice
    found = arrays.collect_idx(tmp_path)
    assert found.names[0] == "train-images.idx3-ubyte[0]"
    assert found.notes == (f"passed over: {IMAGES}",)
    assert_holds(found, GREY)


def test_of_a_file_and_its_compressed_form_one_is_read_and_the_rest_told(tmp_path: Path) -> None:
    compressed = {f"{name}__gz": b"not read" for name in both()}
    found = arrays.collect_idx(fill(tmp_path, **both(), **compressed, README=b"hello"))
    assert_holds(found, GREY, GREY[:2])
    others = ", ".join(["README", f"t10k{IMAGES[5:]}.gz", f"t10k{LABELS[5:]}.gz", f"{IMAGES}.gz", f"{LABELS}.gz"])
    assert found.notes == (f"passed over: {others}",)


def test_emnists_images_are_turned_upright(tmp_path: Path) -> None:
    found = arrays.collect_idx(fill(tmp_path, **both("emnist_letters_", "__gz", ("train", "test"))))
    assert found.names[7] == "emnist-letters-test-images-idx3-ubyte.gz[0]"
    assert found.parts == [TRAIN] * 7 + [TEST] * 2
    assert found.notes == ("rows and columns are swapped, as EMNIST's images lie on their side in its files",)
    assert_holds(found, GREY.transpose(0, 2, 1), GREY[:2].transpose(0, 2, 1))


def test_qmnists_class_is_the_first_of_eight_columns(tmp_path: Path) -> None:
    table = np.arange(0, 56_000, 1000, dtype=">i4").reshape(7, 8)
    table[:, 0] = SEVEN
    files = {"qmnist_train_images_idx3_ubyte__gz": idx(GREY), "qmnist_train_labels_idx2_int__gz": idx(table, kind=12)}
    found = arrays.collect_idx(fill(tmp_path, **files))
    assert found.labels == ["2", "0", "10", "1", "2", "0", "10"]
    assert_holds(found, GREY)


def test_a_table_of_labels_is_qmnists_alone(tmp_path: Path) -> None:
    files = {"train_images_idx3_ubyte": idx(GREY), "train_labels_idx2_int": idx(np.zeros((7, 8), ">i4"), kind=12)}
    assert refusal(fill(tmp_path, **files)) == "/train-labels-idx2-int: holds 8 labels for each image, must be one"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["README.md", "t10k-images-idx3-ubyte.gz"], True),
        (["train-labels.idx1-ubyte"], True),
        (["emnist-byclass-test-labels-idx1-ubyte.gz"], True),
        (["qmnist-test-labels-idx2-int.gz"], True),
        ([], False),
        (["train", "test"], False),
        (["train-images.png", "train-images-idx3-ubyte.txt", "images-idx3-ubyte"], False),
    ],
)
def test_idx_files_are_known_by_their_names(names: list[str], expected: bool) -> None:
    assert arrays.is_idx(names) is expected


HALF = "{}: its other half is missing, {}idx…"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            both("emnist_letters_") | both("emnist_digits_") | both(),
            ": holds files of several data sets, must be of one: emnist-digits-t10k-images-idx3-ubyte, "
            "emnist-letters-t10k-images-idx3-ubyte, t10k-images-idx3-ubyte",
        ),
        ({"train_images_idx3_ubyte": idx(GREY)}, "/" + HALF.format(IMAGES, "train-labels-")),
        (
            {"x_test_labels_idx1_ubyte__gz": idx(BYTES)},
            "/" + HALF.format("x-test-labels-idx1-ubyte.gz", "x-test-images-"),
        ),
        ({"README": b""}, ": has no IDX files such as train-images-idx3-ubyte.gz"),
    ],
    ids=["several sets", "no labels", "no images", "none"],
)
def test_what_is_not_one_set_in_pairs_is_refused(files: dict[str, bytes], told: str, tmp_path: Path) -> None:
    assert refusal(fill(tmp_path, **files)) == told


NOT_IDX = "not an IDX file, or empty, or its length does not fit its header"
ODD: dict[str, tuple[str, bytes, str]] = {
    "empty": (IMAGES, b"", NOT_IDX),
    "header cut short": (IMAGES, idx(GREY)[:6], NOT_IDX),
    "wrong magic": (IMAGES, b"PK\3\4" + idx(GREY)[4:], NOT_IDX),
    "unknown element": (IMAGES, idx(GREY, kind=10), NOT_IDX),
    "no images": (IMAGES, idx(GREY[:0]), NOT_IDX),
    "no dimensions": (IMAGES, b"\0\0\x08\0", NOT_IDX),
    "one byte short": (IMAGES, idx(GREY)[:-1], "ends within its 7 images"),
    "one byte long": (IMAGES, idx(GREY) + b"\0", "does not end after its 7 images"),
    "floats": (IMAGES, idx(GREY.astype(">f4"), kind=13), f"holds >f4 [7, 3, 2], {SHAPES}{ROUND}"),
    "flat images": (IMAGES, idx(GREY[0]), f"holds uint8 [3, 2], {SHAPES}"),
    "short labels": (LABELS, idx(BYTES)[:-1], NOT_IDX),
    "long labels": (LABELS, idx(BYTES) + b"\0", NOT_IDX),
    "too few labels": (LABELS, idx(BYTES[:6]), "holds 6 labels, must be 7, as there are images"),
    "floats as labels": (LABELS, idx(SEVEN.astype(">f8"), kind=14), "holds >f8 [7], must be integers or text [7]"),
    "images as labels": (LABELS, idx(GREY), "holds uint8 [7, 3, 2], must be integers or text [7]"),
    "announces 4 GB of labels": (
        LABELS,
        struct.pack(">4I", 0x803, 65_536, 256, 256) + bytes(30),
        "holds 4,294,967,296 bytes, must be 1,073,741,824 at most",
    ),
}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(("name", "payload", "told"), ODD.values(), ids=ODD)
def test_an_odd_idx_file_is_refused_in_a_sentence(
    name: str, payload: bytes, told: str, suffix: str, tmp_path: Path
) -> None:
    files = {IMAGES: idx(GREY), LABELS: idx(BYTES), name: payload}
    fill(tmp_path, **{f"{each}{suffix}": content for each, content in files.items()})
    assert refusal(tmp_path) == f"/{name}{suffix}: {told}"


PACKED = gzip.compress(idx(GREY), mtime=0)


@pytest.mark.parametrize("name", [IMAGES, LABELS])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (PACKED[:-8] + b"\0" + PACKED[-7:], r"cannot be read: CRC check failed .*"),
        (PACKED[:10] + b"\xff" + PACKED[11:], r"Error -3 while decompressing data.*"),
        (PACKED[:-9], r"Compressed file ended before the end-of-stream marker was reached"),
        (b"<html>", r"cannot be read: Not a gzipped file \(b'<h'\)"),
    ],
    ids=["wrong sum", "no deflate", "truncated", "html"],
)
def test_a_damaged_compressed_file_is_refused(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    fill(tmp_path, **{f"{IMAGES}.gz": idx(GREY), f"{LABELS}.gz": idx(BYTES)})
    (tmp_path / f"{name}.gz").write_bytes(content)
    assert re.fullmatch(f"/{name}.gz: {told}", refusal(tmp_path))


@pytest.mark.parametrize("name", [IMAGES, LABELS])
@pytest.mark.parametrize("announced", [True, False])
def test_a_bomb_takes_no_memory(name: str, announced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "LIMIT", 2**20)
    monkeypatch.setattr(arrays, "BATCH", 2**16)
    fill(tmp_path, **{f"{IMAGES}.gz": idx(GREY), f"{LABELS}.gz": idx(BYTES)})
    shape = (10**8, 1, 1) if name == IMAGES else (10**8,)
    start = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) if announced else idx(GREY)[:16]
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(start + bytes(10**8)))
    tracemalloc.start()
    told = refusal(tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    if announced:
        assert "holds 100,000,000 bytes, must be 1,048,576 at most" in told
        assert ("unpack it to have more" in told) == (name == IMAGES)
    assert peak < 2**21


def test_an_uncompressed_file_may_be_of_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "LIMIT", 10)
    assert_holds(arrays.collect_idx(fill(tmp_path, **{IMAGES: idx(GREY), LABELS: idx(BYTES)})), GREY)


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.array([[-5, 7]], "i1"), 9),
        (np.array([[-500, 7]], ">i2"), 11),
        (np.array([[-70_000, 7]], ">i4"), 12),
        (np.array([[0.5, 7]], ">f4"), 13),
        (np.array([[0.1, 7]], ">f8"), 14),
        (GREY, 8),
    ],
)
def test_an_idx_file_is_read_as_its_header_says(array: np.ndarray, kind: int) -> None:
    found = arrays.read_idx(io.BytesIO(idx(array, kind)))
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)
