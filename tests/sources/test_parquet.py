import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from softmax_regression.base.errors import UserError
from softmax_regression.pictures.reading import read
from softmax_regression.sources.collection import TEST, TRAIN, UNDIVIDED, VALID, Collection
from softmax_regression.sources.parquet import collect_parquet

LEVELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


def png(levels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    return file.getvalue()


PNGS = [png(levels) for levels in LEVELS]
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
STRUCTS = pa.array([{"bytes": content, "path": f"{row}.png"} for row, content in enumerate(PNGS)], STRUCT)
ANIMALS = ["zebra", "ant", "mole"]
LABELS = [2, 0, 1, 1, 2]


def class_label(*names: str, column: str = "label") -> dict[bytes, bytes]:
    """The metadata that Hugging Face's library, here 5.2, writes beside a column of classes."""
    features = {"image": {"_type": "Image"}, column: {"names": names, "_type": "ClassLabel"}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def write(path: Path, metadata: dict[bytes, bytes] | None = None, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {name: column if isinstance(column, pa.Array) else pa.array(column) for name, column in columns.items()}
    )
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=2)
    return path


def animals(path: Path, rows: slice = slice(None)) -> Path:
    return write(path, class_label(*ANIMALS), image=STRUCTS[rows], label=pa.array(LABELS[rows], pa.int64()))


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as refused:
        list(collect_parquet(path).contents())
    told = str(refused.value)
    assert told.isprintable() and told.startswith(str(path))
    return told.removeprefix(str(path))


def contents(collection: Collection) -> list[Any]:
    found = list(collection.contents())
    assert found == list(collection.contents())
    assert len(found) == len(collection.names) == len(collection.labels) == len(collection.parts)
    assert list(collection.numbers) == list(range(len(found)))
    return found


def test_a_hugging_face_set_has_pictures_classes_in_their_order_and_parts(tmp_path: Path) -> None:
    animals(tmp_path / "data/train-00000-of-00002.parquet", slice(0, 3))
    animals(tmp_path / "data/train-00001-of-00002.parquet", slice(3, 5))
    animals(tmp_path / "data/test-00000-of-00001.parquet", slice(1, 2))
    animals(tmp_path / "data/validation-00000-of-00001.parquet", slice(2, 4))
    found = collect_parquet(tmp_path)
    assert found.names == [
        "data/test-00000-of-00001.parquet[0]",
        "data/train-00000-of-00002.parquet[0]",
        "data/train-00000-of-00002.parquet[1]",
        "data/train-00000-of-00002.parquet[2]",
        "data/train-00001-of-00002.parquet[0]",
        "data/train-00001-of-00002.parquet[1]",
        "data/validation-00000-of-00001.parquet[0]",
        "data/validation-00000-of-00001.parquet[1]",
    ]
    assert found.labels == ["zebra", "mole", "zebra", "ant", "ant", "mole", "ant", "ant"]
    assert found.parts == [TEST] + [TRAIN] * 5 + [VALID] * 2
    assert found.classes == ("zebra", "ant", "mole")
    assert (found.problems, found.notes) == ((), ())
    assert contents(found) == [PNGS[row] for row in (1, 0, 1, 2, 3, 4, 2, 3)]
    np.testing.assert_array_equal(read(contents(found)[0]).levels, LEVELS[1])


def test_one_file_is_undivided_whatever_its_name(tmp_path: Path) -> None:
    found = collect_parquet(animals(tmp_path / "data/test-00003-of-00009.parquet"))
    assert found.names[4] == "test-00003-of-00009.parquet[4]"
    assert (found.parts, found.problems) == ([UNDIVIDED] * 5, ())
    assert contents(found) == PNGS


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00002-0123456789abcdef.parquet", "train-00001-of-00002-0123456789abcdef.parquet"),
        ("2.parquet", "10.parquet"),
    ],
)
def test_files_of_one_part_are_undivided(names: tuple[str, str], tmp_path: Path) -> None:
    animals(tmp_path / names[1], slice(2, 5))
    animals(tmp_path / names[0], slice(0, 2))
    found = collect_parquet(tmp_path)
    assert found.names[1:3] == [f"{names[0]}[1]", f"{names[1]}[0]"]
    assert (found.parts, found.problems) == ([UNDIVIDED] * 5, ())
    assert contents(found) == PNGS


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train.parquet", "test.parquet"),
        ("mnist/Training-00000-of-00001.parquet", "mnist/Testing-00000-of-00001.parquet"),
        ("default/train/0000.parquet", "default/test/0000.parquet"),
    ],
    ids=["plain", "in a folder", "as converted on the hub"],
)
def test_the_parts_are_by_the_names_of_files_or_folders(train: str, test: str, tmp_path: Path) -> None:
    animals(tmp_path / train, slice(2))
    animals(tmp_path / test, slice(2, 3))
    animals(tmp_path / ".cache/train.parquet")  # hidden
    found = collect_parquet(tmp_path)
    assert dict(zip(found.names, found.parts, strict=True)) == {
        f"{test}[0]": TEST,
        f"{train}[0]": TRAIN,
        f"{train}[1]": TRAIN,
    }


def test_files_that_are_missing_of_a_numbered_part_are_a_problem(tmp_path: Path) -> None:
    for name in ("train-00000-of-00003", "train-00002-of-00003", "test-00000-of-00001"):
        animals(tmp_path / f"data/{name}.parquet")
    assert collect_parquet(tmp_path).problems == ("data/train-….parquet: 2 of 3 files are there",)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (
            ("cropped/train.parquet", "cropped/test.parquet", "full/train.parquet"),
            ": holds data sets in several folders, name one of them: cropped, full",
        ),
        (
            ("train.parquet", "extra.parquet"),
            ": extra.parquet: its name must begin with its part: train, training, test, testing, val, valid, "
            "validation, dev",
        ),
        ((), ": has no files such as train-00000-of-00001.parquet"),
    ],
)
def test_unclear_files_are_refused(names: tuple[str, ...], told: str, tmp_path: Path) -> None:
    for name in names:
        animals(tmp_path / name)
    assert refusal(tmp_path) == told


def test_all_files_must_have_the_same_classes(tmp_path: Path) -> None:
    animals(tmp_path / "train.parquet")
    write(tmp_path / "test.parquet", class_label("ant", "zebra", "mole"), image=STRUCTS, label=LABELS)
    assert refusal(tmp_path) == ": its files have different classes, must have the same in the same order"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pa.array(LABELS, pa.int8()), ["2", "0", "1", "1", "2"]),
        (pa.array(LABELS, pa.uint64()), ["2", "0", "1", "1", "2"]),
        (pa.array(["b", "é", "e\u0301", "b", "a"]), ["b", "é", "é", "b", "a"]),
        (pa.array(["b", "a", "a", "b", "a"], pa.large_string()), ["b", "a", "a", "b", "a"]),
        (pa.array(["b", "a", "a", "b", "a"]).dictionary_encode(), ["b", "a", "a", "b", "a"]),
        (pa.array([True, False, False, True, True]), ["True", "False", "False", "True", "True"]),
    ],
    ids=["int8", "uint64", "text", "large text", "categories", "bool"],
)
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_plain_columns_of_bytes_and_of_integers_or_text_do_too(
    labels: pa.Array, expected: list[str], kind: pa.DataType, tmp_path: Path
) -> None:
    found = collect_parquet(write(tmp_path / "own.parquet", image=pa.array(PNGS, kind), label=labels))
    assert (found.labels, found.classes) == (expected, ())
    assert contents(found) == PNGS


NUMBERS, WORDS = list(range(5)), list("abcde")


@pytest.mark.parametrize(
    ("metadata", "columns", "notes"),
    [
        (None, {"id": NUMBERS, "img": STRUCTS, "label": LABELS}, ()),
        (None, {"label": LABELS, "photo": STRUCTS, "id": WORDS}, ()),
        (None, {"image": STRUCTS, "mask": STRUCTS, "class": LABELS, "id": NUMBERS}, ()),
        (None, {"digit": LABELS, "image": STRUCTS}, ("digit is the column of the labels",)),
        (
            class_label("0", "1", "2", column="kind"),
            {"image": STRUCTS, "id": NUMBERS, "kind": LABELS},
            ("kind is the column of the labels",),
        ),
    ],
)
def test_the_columns_are_found_by_name_or_type(
    metadata: dict[bytes, bytes] | None, columns: dict[str, Any], notes: tuple[str, ...], tmp_path: Path
) -> None:
    found = collect_parquet(write(tmp_path / "own.parquet", metadata, **columns))
    assert found.labels == ["2", "0", "1", "1", "2"]
    assert found.notes == notes
    assert contents(found) == PNGS


WANTED = "must have one column `image`, of binary or struct<bytes, path>, and one `label`, of integers or text"
STRUCT_TEXT = "struct<bytes: binary, path: string>"
TWO_LABELS = {
    b"huggingface": json.dumps(
        {"info": {"features": {name: {"_type": "ClassLabel", "names": ANIMALS} for name in ("fine", "coarse")}}}
    ).encode()
}


@pytest.mark.parametrize(
    ("metadata", "columns", "listed"),
    [
        (None, {"image": STRUCTS, "id": NUMBERS, "digit": LABELS}, f"image ({STRUCT_TEXT}), id (int64), digit (int64)"),
        (
            None,
            {"one": STRUCTS, "two": STRUCTS, "label": LABELS},
            f"one ({STRUCT_TEXT}), two ({STRUCT_TEXT}), label (int64)",
        ),
        (
            TWO_LABELS,
            {"image": STRUCTS, "fine": LABELS, "coarse": LABELS},
            f"image ({STRUCT_TEXT}), fine (int64), coarse (int64)",
        ),
        (
            None,
            {"image": STRUCTS, "label": [[1, 2]] * 5, "id": NUMBERS},
            f"image ({STRUCT_TEXT}), label (list<element: int64>), id (int64)",
        ),
        (None, {"image": STRUCTS, "label": [0.5] * 5}, f"image ({STRUCT_TEXT}), label (double)"),
        (None, {"image": WORDS, "label": LABELS}, "image (string), label (int64)"),
        (None, {"image": STRUCTS}, f"image ({STRUCT_TEXT})"),
        (None, {"label": LABELS}, "label (int64)"),
    ],
    ids=["two", "two pictures", "two ClassLabels", "several labels", "floats", "paths", "no labels", "no pictures"],
)
def test_unclear_columns_are_refused_with_a_list_of_them(
    metadata: dict[bytes, bytes] | None, columns: dict[str, Any], listed: str, tmp_path: Path
) -> None:
    assert refusal(write(tmp_path / "own.parquet", metadata, **columns)) == f": {WANTED}; it has {listed}"


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.table([STRUCTS, pa.array(LABELS), pa.array(NUMBERS)], ["image", "label", "label"])
    pq.write_table(table, tmp_path / "own.parquet")
    told = refusal(tmp_path / "own.parquet")
    assert told == f": {WANTED}; it has image ({STRUCT_TEXT}), label (int64), label (int64)"


@pytest.mark.parametrize("kind", ["struct", "bytes", "binary"])
def test_a_picture_that_is_null_is_told(kind: str, tmp_path: Path) -> None:
    nulls = {
        "struct": pa.array([{"bytes": PNGS[0], "path": "0"}, None, {"bytes": PNGS[2], "path": "2"}], STRUCT),
        "bytes": pa.array([{"bytes": PNGS[0]}, {"path": "1.png"}, {"bytes": PNGS[2], "path": "2"}], STRUCT),
        "binary": pa.array([PNGS[0], None, PNGS[2]]),
    }
    found = collect_parquet(write(tmp_path / "own.parquet", image=nulls[kind], label=LABELS[:3]))
    assert contents(found) == [PNGS[0], "is empty", PNGS[2]]


@pytest.mark.parametrize(
    ("metadata", "labels", "told"),
    [
        (class_label(*ANIMALS), [2, -1, 1, 3, 2], "2 of 5 labels are no class, the first in row 1: -1"),
        (class_label(*ANIMALS), [2, None, 1, None, 2], "2 of 5 labels are no class, the first in row 1: None"),
        (None, ["mole", " ", "ant", "\n", "mole"], "2 of 5 labels are no class, the first in row 1: ' '"),
        (None, ["mole", "a\nb", "ant", None, "mole"], r"2 of 5 labels are no class, the first in row 1: 'a\nb'"),
    ],
)
def test_pictures_without_a_class_are_left_out_and_a_problem(
    metadata: dict[bytes, bytes] | None, labels: list[Any], told: str, tmp_path: Path
) -> None:
    found = collect_parquet(write(tmp_path / "own.parquet", metadata, image=STRUCTS, label=pa.array(labels)))
    assert found.names == ["own.parquet[0]", "own.parquet[2]", "own.parquet[4]"]
    assert found.labels == ["mole", "ant", "mole"]
    assert found.problems == (f"own.parquet: {told}",)
    assert contents(found) == [PNGS[0], PNGS[2], PNGS[4]]


def test_classes_without_a_picture_are_left_out(tmp_path: Path) -> None:
    metadata = class_label("zebra", "bee", "ant", "cow")
    found = collect_parquet(write(tmp_path / "own.parquet", metadata, image=STRUCTS, label=[2, 0, 0, 2, 2]))
    assert found.classes == ("zebra", "ant")
    assert found.notes == ("passed over: classes without a picture: bee, cow",)


def test_names_of_classes_are_for_integers_alone(tmp_path: Path) -> None:
    found = collect_parquet(write(tmp_path / "own.parquet", class_label("cat"), image=STRUCTS, label=WORDS))
    assert (found.labels, found.classes) == (WORDS, ())


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        (b"{", "Hugging Face's metadata in it is damaged"),
        (b"[1]", "Hugging Face's metadata in it is damaged"),
        (b'{"info": {}}', "Hugging Face's metadata in it is damaged"),
        (b'{"info": {"features": {"label": {"_type": "ClassLabel"}}}}', "Hugging Face's metadata in it is damaged"),
        (
            class_label("a", "b", "a")[b"huggingface"],
            "the classes of label must be distinct, and text that can be printed",
        ),
        (
            class_label("a", "b\0")[b"huggingface"],
            "the classes of label must be distinct, and text that can be printed",
        ),
    ],
)
def test_damaged_metadata_is_refused(metadata: bytes, told: str, tmp_path: Path) -> None:
    path = write(tmp_path / "own.parquet", {b"huggingface": metadata}, image=STRUCTS, label=LABELS)
    assert refusal(path) == f": {told}"


def test_other_metadata_does_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path / "own.parquet", {b"huggingface": b"{}", b"pandas": b"{"}, image=STRUCTS, label=LABELS)
    assert contents(collect_parquet(path)) == PNGS


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "Failed to open local file"),
        (b"", "Parquet file size is 0 bytes"),
        (b"<html>" * 9, "Parquet magic bytes not found"),
        (b"PAR1" + bytes(20) + b"PAR1", ""),
    ],
)
def test_what_is_no_parquet_file_is_refused(content: bytes | None, told: str, tmp_path: Path) -> None:
    path = tmp_path / "own.parquet"
    if content is not None:
        path.write_bytes(content)
    assert refusal(path).startswith(f": cannot be read: {told}")


def test_damage_within_the_pictures_is_told_when_they_are_read(tmp_path: Path) -> None:
    path = animals(tmp_path / "own.parquet")
    content = bytearray(path.read_bytes())
    content[4:30] = bytes(26)
    path.write_bytes(content)
    found = collect_parquet(path)
    with pytest.raises(UserError, match=r"own\.parquet: cannot be read: \w+"):
        list(found.contents())


def test_few_pictures_are_held_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "own.parquet"
    noise = np.random.default_rng(0).integers(0, 256, (10_240, 10_240), dtype=np.uint8)
    pictures = pa.array([row.tobytes() for row in noise], pa.binary())
    pq.write_table(pa.table({"image": pictures, "label": pa.array([0] * len(noise))}), path)
    program = f"""
import pyarrow as pa, resource, pathlib
from softmax_regression.sources.parquet import collect_parquet
found = collect_parquet(pathlib.Path({str(path)!r}))
print(sum(len(content) for content in found.contents()) // 2**20, pa.default_memory_pool().max_memory() // 2**20)
"""
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    read_mib, peak_mib = map(int, printed.split())
    assert read_mib == 100
    assert peak_mib < 40


def test_pyarrow_is_loaded_only_when_it_is_needed() -> None:
    program = "import sys; import softmax_regression.sources.parquet; print('pyarrow' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert printed == "False\n"
