import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clone import ROOT
from safetensors.numpy import save_file

from softmax_regression.base import tensor_files
from softmax_regression.base.errors import UserError

WRITER = """
import sys
from pathlib import Path
import numpy as np
from softmax_regression.base import tensor_files
arrays = {name: np.arange(6, dtype=np.float32).reshape(2, 3) for name in ("weight", "bias", "images", "labels")}
description = {"dataset": "small", "classes": ["a", "b"], "source": {"x": "1", "y": "2"}}
tensor_files.write(Path(sys.argv[1]), arrays, description)
"""


def test_arrays_and_description_come_back(tmp_path: Path) -> None:
    arrays = {
        "images": np.arange(6, dtype=np.uint8).reshape(3, 1, 2),
        "labels": np.array([2, -1, 2**40]),
        "weight": np.array([[0.1, -np.inf]], dtype=np.float32),
        "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    }
    tensor_files.write(tmp_path / "x.safetensors", arrays, {"dataset": "small", "classes": ["き"]})
    read, description = tensor_files.read(tmp_path / "x.safetensors")
    assert description == {"dataset": "small", "classes": ["き"]}
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_different_processes_write_equal_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{seed}.safetensors" for seed in ("0", "1", "2")]
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path],
            env={**os.environ, "PYTHONHASHSEED": path.stem, "PYTHONPATH": str(ROOT / "src")},
        )
        for path in paths
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert len({path.read_bytes() for path in paths}) == 1


def test_reading_maps_the_file_and_writing_into_the_array_leaves_it_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensor_files.write(path, {"weight": np.ones(3, dtype=np.float32)}, {})
    before = path.read_bytes()
    array = tensor_files.read(path)[0]["weight"]
    assert isinstance(array, np.memmap)
    array[:] = 7
    array.flush()
    assert path.read_bytes() == before
    np.testing.assert_array_equal(tensor_files.read(path)[0]["weight"], [1, 1, 1])


@pytest.mark.parametrize("kept", [0, 4, 20, -1])
def test_a_file_cut_short_is_refused(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    tensor_files.write(path, {"weight": np.ones(3, dtype=np.float32)}, {})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"x\.safetensors: not a safetensors file of this project: .+"):
        tensor_files.read(path)


@pytest.mark.parametrize("description", ["{", "[" * 100_000])
def test_a_damaged_description_is_refused(description: str, tmp_path: Path) -> None:
    save_file({"weight": np.ones(3, dtype=np.float32)}, tmp_path / "x.safetensors", {"description": description})
    with pytest.raises(UserError, match="not a safetensors file of this project"):
        tensor_files.read(tmp_path / "x.safetensors")


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("unpickled",)


def test_a_pickle_under_the_right_name_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.safetensors").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(UserError, match="not a safetensors file"):
        tensor_files.read(Path("x.safetensors"))
    assert not Path("unpickled").exists()


def test_an_element_type_that_no_file_of_the_project_has_is_refused(tmp_path: Path) -> None:
    tensor_files.write(tmp_path / "x.safetensors", {"weight": np.ones(3, np.float16)}, {})
    with pytest.raises(UserError, match="not a safetensors file of this project: 'F16'"):
        tensor_files.read(tmp_path / "x.safetensors")


def test_a_missing_file_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^\S+/none\.safetensors: cannot be read: No such file[^\n]*$"):
        tensor_files.read(tmp_path / "none.safetensors")


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_told_in_one_line_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_text("old")
    with pytest.raises(UserError, match=r"x\.safetensors: cannot be written: [^\n]*File too large[^\n]*$"):
        tensor_files.write(path, {"weight": np.ones(10_000, dtype=np.float32)}, {})
    assert path.read_text() == "old"


def test_an_array_that_comes_in_chunks_comes_back(tmp_path: Path) -> None:
    rows, path = np.arange(-30, 30, dtype=np.int8).reshape(5, 3, 4), tmp_path / "x.safetensors"
    chunks = (rows[start : start + 2] for start in (0, 2, 4))
    tensor_files.write_in_chunks(path, "features", rows.shape, chunks, {"dataset": "き"})
    read, description = tensor_files.read(path)
    assert description == {"dataset": "き"}
    assert read.keys() == {"features"}
    assert read["features"].dtype == np.int8
    np.testing.assert_array_equal(read["features"], rows)


def test_nothing_but_a_description_comes_back(tmp_path: Path) -> None:
    tensor_files.write(tmp_path / "x", {}, {"features": "pixels"})
    assert tensor_files.read(tmp_path / "x") == ({}, {"features": "pixels"})


@pytest.mark.parametrize(("rows", "surplus"), [(1, "-3"), (3, r"\+3")])
def test_chunks_of_another_number_of_rows_leave_no_file(rows: int, surplus: str, tmp_path: Path) -> None:
    chunks = [np.zeros((1, 3), np.int8)] * rows
    with pytest.raises(ValueError, match=rf"^features: the chunks have {surplus} bytes more than \[2, 3\]$"):
        tensor_files.write_in_chunks(tmp_path / "x", "features", (2, 3), chunks, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("full_disk")
def test_chunks_that_the_disk_has_no_room_for_are_refused_in_one_line(tmp_path: Path) -> None:
    chunks = [np.zeros((1, 3000), np.int8)] * 3
    with pytest.raises(UserError, match=r"x: cannot be written: File too large$"):
        tensor_files.write_in_chunks(tmp_path / "x", "features", (3, 3000), chunks, {})
