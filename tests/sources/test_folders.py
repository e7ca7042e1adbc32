import unicodedata
from collections.abc import Iterable
from pathlib import Path

import pytest
from picture_files import png, two_classes, write

from softmax_regression.base.errors import UserError
from softmax_regression.sources.collection import Collection, in_one_form, natural_order
from softmax_regression.sources.folders import collect_tree
from softmax_regression.sources.trees import of_folder

PNG = png(0)


def collected(folder: Path, paths: Iterable[str], tables: dict[str, str] | None = None) -> Collection:
    files = dict.fromkeys(paths, PNG) | {path: text.encode() for path, text in (tables or {}).items()}
    return collect_tree(of_folder(write(folder, files)), "pics")


def as_table(collection: Collection) -> dict[str, tuple[str, str]]:
    pairs = zip(collection.parts, collection.labels, strict=True)
    return dict(zip(collection.names, pairs, strict=True))


def test_classes_are_folders(tmp_path: Path) -> None:
    found = collected(tmp_path, ("cat/1.png", "cat/more/2.jpg", "dog/1.png"))
    assert as_table(found) == {"cat/1.png": ("", "cat"), "cat/more/2.jpg": ("", "cat"), "dog/1.png": ("", "dog")}
    assert list(found.contents()) == [PNG] * 3 and found.problems == () and found.notes == ()


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("train", "test"), ("train", "test")),
        (("Training", "TESTING"), ("train", "test")),
        (("train", "val", "test"), ("train", "valid", "test")),
        (("train", "validation"), ("train", "valid")),
        (("train",), ("",)),
    ],
)
@pytest.mark.parametrize("top", ["", "pics/", "a b/c/"])
def test_parts_are_folders_of_folders(names: tuple[str, ...], parts: tuple[str, ...], top: str, tmp_path: Path) -> None:
    paths = {
        f"{top}{name}/{label}/1.png": (part, label) for name, part in zip(names, parts, strict=True) for label in "ab"
    }
    assert as_table(collected(tmp_path, paths)) == paths


def test_train_may_be_a_class_beside_others(tmp_path: Path) -> None:
    assert as_table(collected(tmp_path, ("train/1.png", "bus/1.png"))) == {
        "train/1.png": ("", "train"), "bus/1.png": ("", "bus"),
    }  # fmt: skip


def test_natural_order_counts() -> None:
    assert natural_order(["10", "9", "2", "b10", "b9", "B1", "a", "02"]) == [
        "02",
        "2",
        "9",
        "10",
        "a",
        "B1",
        "b9",
        "b10",
    ]


def test_names_in_two_unicode_forms_are_one_class_and_two_folders_of_it_are_refused(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    found = collected(
        tmp_path / "one", (f"train/{decomposed}/1.png", "train/x/1.png", "test/café/1.png", "test/x/1.png")
    )
    assert set(found.labels) == {"café", "x"} and found.problems == () and in_one_form(decomposed) == "café"
    twice = collected(tmp_path / "two", (f"{decomposed}/1.png", "café/1.png"))
    assert twice.problems == (f"café: the same class as {decomposed}, in another Unicode form",)


def test_what_is_wrong_with_folders_is_told_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "train/empty").mkdir(parents=True)
    found = collected(
        tmp_path, ("train/a/1.png", "train/2.png", "test/a/1.png", "extra/3.png", "val/a/1.png", "dev/a/2.png")
    )
    assert sorted(found.problems) == [
        ".: more than one folder for the part valid",
        "extra: beside folders for training and testing",
        "train/2.png: lies in no class's folder",
        "train/empty: a class without pictures",
    ]


def test_a_class_that_is_empty_in_test_alone_is_none(tmp_path: Path) -> None:
    (tmp_path / "test/b").mkdir(parents=True)
    assert collected(tmp_path, ("train/a/1.png", "train/b/1.png", "test/a/1.png")).problems == ()


def test_other_files_beside_the_classes_are_passed_over_and_told(tmp_path: Path) -> None:
    found = collected(tmp_path, ("a/1.png", "b/1.png"), {"README.md": "about", "LICENSE": "free", ".git": "x"})
    assert found.names == ["a/1.png", "b/1.png"]
    assert found.notes == (
        "passed over: 1 files hidden, or a file manager's",
        "passed over: 2 files beside the classes' folders",
    )


@pytest.mark.parametrize("name", ["metadata.csv", "labels.csv"])
@pytest.mark.parametrize("columns", ["file_name,label", "id,other,category"])
def test_a_table_says_the_class_and_the_order(name: str, columns: str, tmp_path: Path) -> None:
    rows = [f"{path},{'x,' * (columns.count(',') - 1)}{label}" for path, label in (("z.png", "b"), ("in/a.png", "a"))]
    found = collected(tmp_path, ("z.png", "in/a.png"), {name: "\ufeff" + "\r\n".join([columns, *rows])})
    assert as_table(found) == {"z.png": ("", "b"), "in/a.png": ("", "a")}
    assert [path for _, path in sorted(zip(found.numbers, found.names, strict=True))] == ["z.png", "in/a.png"]


def test_each_part_may_have_its_table_or_all_one(tmp_path: Path) -> None:
    own = {"train/metadata.csv": "file_name,label\n1.png,a\n2.png,b", "test/metadata.csv": "file_name,label\n1.png,a"}
    paths = ("train/1.png", "train/2.png", "test/1.png")
    wanted = {"train/1.png": ("train", "a"), "train/2.png": ("train", "b"), "test/1.png": ("test", "a")}
    assert as_table(collected(tmp_path / "own", paths, own)) == wanted
    rows = "".join(f"{path},{label}\n" for path, (_, label) in wanted.items())
    one = collected(tmp_path / "one", paths, {"labels.csv": "path,class\n" + rows})
    assert as_table(one) == wanted and sorted(one.numbers) == [0, 1, 2]


def test_pictures_and_tables_that_do_not_agree_are_told(tmp_path: Path) -> None:
    found = collected(tmp_path, ("1.png", "2.png"), {"labels.csv": "file,label\n1.png,a\n3.png,b\n"})
    assert found.problems == ("2.png: not in metadata.csv or labels.csv", "3.png: listed in a table, but not there")


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("name,label\n1.png,a", "labels.csv: has the columns name, label, must have one of file_name, filename, file,"),
        ("file,label\n1.png,a\n1.png,b", "labels.csv: lists 1.png as a and as b"),
        ("file,label\n1.png, ", "labels.csv: lists 1.png without a class, or with one that cannot be printed"),
        ("file,label\n1.png,\x1b[31m", "labels.csv: lists 1.png without a class, or with one that cannot be printed"),
        ("file,label\n" + "1.png,a\n" * 4_200_000, "labels.csv: more than 33,554,432 bytes; put the pictures into"),
        ("file,label\n1.png", "labels.csv: damaged: line 2 has another number of columns than the first"),
        ("", "labels.csv: damaged: not a table of comma-separated values"),
    ],
)
def test_a_wrong_table_is_refused(table: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        collected(tmp_path, ("1.png",), {"labels.csv": table})
    assert str(refused.value).startswith(reason)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"^pics: no pictures in folders named by their classes, such as pics/cat/1\.png$"
    ):
        collected(tmp_path, ())


@pytest.mark.parametrize(
    ("paths", "numbers"),
    [
        (("a/10.png", "b/9.png", "a/011.png"), {"a/10.png": 10, "b/9.png": 9, "a/011.png": 11}),
        (("a/1.png", "b/1.png"), {}),
        (("a/1.png", "b/x2.png"), {}),
    ],
)
def test_numbered_files_have_an_order(paths: tuple[str, ...], numbers: dict[str, int], tmp_path: Path) -> None:
    found = collected(tmp_path, paths)
    assert dict(zip(found.names, found.numbers, strict=False)) == numbers


def test_numbers_may_come_again_in_another_part(tmp_path: Path) -> None:
    assert list(collected(tmp_path, ("train/a/0.png", "train/b/1.png", "test/a/0.png")).numbers) == [0, 0, 1]


def test_two_classes_are_written_for_the_tests(tmp_path: Path) -> None:
    assert len(collect_tree(of_folder(write(tmp_path, two_classes())), "pics").names) == 10


def test_parts_of_other_names_are_not_taken_for_classes(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        collected(tmp_path, (f"{part}_set/{label}/1.png" for part in ("training", "test") for label in ("cat", "dog")))
    assert str(refused.value) == (
        "test_set and training_set both have a folder cat: call them train and test, or put the pictures directly into "
        "their classes' folders"
    )


def test_a_name_of_many_digits_is_no_number(tmp_path: Path) -> None:
    assert collected(tmp_path, ("a/" + "1" * 200 + ".png", "b/1.png")).numbers == ()


def test_spaces_around_a_class_in_a_table_do_not_count(tmp_path: Path) -> None:
    found = collected(tmp_path, ("1.png", "2.png"), {"labels.csv": "file,label\n1.png,a\n2.png, a "})
    assert found.labels == ["a", "a"]
