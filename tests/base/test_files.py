import json
from pathlib import Path

import pytest

from softmax_regression.base import files
from softmax_regression.base.errors import UserError


def test_a_file_appears_only_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    with files.replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_who_reads_the_old_file_reads_it_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with path.open() as reader:
        with files.replacing(path) as temporary:
            temporary.write_text("new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_interrupts_the_writing_leaves_the_old_file_and_nothing_beside_it(
    error: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(error), files.replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_told_in_one_line_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv"
    path.write_text("old")
    with pytest.raises(UserError, match=r"costs\.csv: cannot be written: File too large$"):
        files.write_csv(path, ["epoch"], [[epoch] for epoch in range(10_000)])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("")
    with pytest.raises(UserError, match=r"metrics/test\.json: cannot be written: File exists$"):
        files.write_json(tmp_path / "metrics/test.json", {})


def test_json_keeps_the_order_of_the_keys_and_letters_beyond_ascii(tmp_path: Path) -> None:
    path = tmp_path / "test.json"
    files.write_json(path, {"cost": 0.25, "accuracy": 1.0, "classes": ["き", "b"]})
    text = path.read_text(encoding="utf-8")
    assert text.endswith("}\n") and "き" in text
    assert text.index("cost") < text.index("accuracy")
    assert json.loads(text) == {"cost": 0.25, "accuracy": 1.0, "classes": ["き", "b"]}


def test_csv_comes_back_as_columns_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    files.write_csv(path, ("index", "actual"), [(0, 'T-shirt, "top"'), (1, "a\nb"), (2, "き")])
    assert path.read_bytes().startswith(b"index,actual\n0,")
    assert files.read_csv(path, ["actual"]) == {"index": ["0", "1", "2"], "actual": ['T-shirt, "top"', "a\nb", "き"]}


def test_csv_without_rows_comes_back_as_empty_columns(tmp_path: Path) -> None:
    files.write_csv(tmp_path / "costs.csv", ["epoch", "cost"], [])
    assert files.read_csv(tmp_path / "costs.csv", []) == {"epoch": [], "cost": []}


def test_csv_that_is_missing_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"costs\.csv: cannot be read: No such file or directory$"):
        files.read_csv(tmp_path / "costs.csv", [])


def test_numbers_come_back_as_they_were(tmp_path: Path) -> None:
    files.write_csv(tmp_path / "costs.csv", ("epoch", "cost"), [(0, 0.1), (1, 1e-9)])
    read = files.read_numbers(tmp_path / "costs.csv", ["cost"])
    assert {name: column.tolist() for name, column in read.items()} == {"epoch": [0, 1], "cost": [0.1, 1e-9]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a table of comma-separated values"),
        (b"epoch,cost\n0,\xff\n", "not a table of comma-separated values"),
        (b"epoch,cost\n0," + b"1" * 200_000, "not a table of comma-separated values"),
        (b"epoch,costs\n0,1\n", "the column cost is missing"),
        (b"epoch,cost\n0,1\n1\n", "line 3 has another number of columns than the first"),
        (b"epoch,cost\n0,1\n1,2,3\n", "line 3 has another number of columns than the first"),
        (b"epoch,cost\n0,zero\n", "could not convert string to float: .*'zero'.*"),
    ],
)
def test_a_damaged_table_is_told_in_one_line(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "costs.csv").write_bytes(content)
    with pytest.raises(UserError, match=rf"^\S+/costs\.csv: damaged: {reason}$"):
        files.read_numbers(tmp_path / "costs.csv", ["cost"])


def test_checksums_of_abc_are_those_in_the_standards(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(tmp_path / "abc") == expected
    assert files.md5(tmp_path / "abc") == "900150983cd24fb0d6963f7d28e17f72"
