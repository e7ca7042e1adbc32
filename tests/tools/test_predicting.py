"""`softmax predict` as people type it."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from softmax_regression.pictures import reading
from softmax_regression.prediction.classifier import Classifier
from softmax_regression.sources.datasets import bundled_digits
from softmax_regression.tools import predicting


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of the digits 0 to 4 in several formats, and what else lies in folders."""
    folder = tmp_path_factory.mktemp("pictures")
    _, test = bundled_digits()
    (folder / "more").mkdir()
    for number, name in enumerate(("a.png", "b.JPG", "c.webp", "more/d.gif", "more/e 5.bmp")):
        large = Image.fromarray(test.images[number]).resize((90, 90), Image.Resampling.BICUBIC)
        Image.fromarray(255 - np.pad(np.asarray(large), 30)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_text("no picture")
    return folder


def typed(*arguments: str, check: bool = True, given: bytes | None = None) -> tuple[str, str]:
    """What `softmax` prints, and what it prints of errors."""
    command = [sys.executable, "-m", "softmax_regression.tools.command", *arguments]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    assert done.returncode == (0 if check else 2), done.stderr.decode()
    return done.stdout.decode(), done.stderr.decode()


def test_a_line_for_each_picture_with_class_probability_and_runner_up(
    folder: Path, model_file: Path, classifier: Classifier
) -> None:
    printed, _ = typed("predict", "--model", str(model_file), str(folder))
    lines = printed.splitlines()
    names = ["a.png", "b.JPG", "c.webp", "more/d.gif", "more/e 5.bmp"]
    assert len(lines) == len(names)
    for line, name in zip(lines, names, strict=True):
        answer = classifier.answer(reading.read(folder / name))
        (best, probability), (second, share), *_ = answer.ranked
        unsure = "  unsure" if answer.is_unsure else ""
        width = max(len(str(folder / each)) for each in names)
        assert line == f"{folder / name!s:{width}}  {best}  {probability:.3f}  then {second} {share:.3f}{unsure}"


def test_json_has_an_object_a_line(folder: Path, model_file: Path, classifier: Classifier) -> None:
    files = [str(folder / name) for name in ("c.webp", "a.png")]
    printed, _ = typed("predict", "--json", "--model", str(model_file), *files)
    found = [json.loads(line) for line in printed.splitlines()]
    expected = [{"file": file, **classifier.answer(reading.read(Path(file))).as_json()} for file in files]
    assert found == json.loads(json.dumps(expected))
    assert found[0].keys() == {"file", "class", "probability", "unsure", "probabilities", "prepared"}


def test_csv_has_a_column_for_each_class(folder: Path, model_file: Path, classifier: Classifier) -> None:
    printed, _ = typed("predict", "--csv", "--model", str(model_file), str(folder / "a.png"))
    (row,) = csv.DictReader(io.StringIO(printed))
    answer = classifier.answer(reading.read(folder / "a.png"))
    assert (row.pop("file"), row.pop("class")) == (str(folder / "a.png"), answer.ranked[0][0])
    assert float(row.pop("probability")) == answer.ranked[0][1]
    assert row.pop("unsure") == str(answer.is_unsure).lower()
    assert [float(value) for value in row.values()] == answer.probabilities.tolist()
    assert list(row) == [f"p({name})" for name in classifier.origin.classes]


def test_standard_input_is_a_picture_too(folder: Path, model_file: Path) -> None:
    printed, _ = typed("predict", "-", "--model", str(model_file), given=(folder / "a.png").read_bytes())
    from_file, _ = typed("predict", str(folder / "a.png"), "--model", str(model_file))
    assert printed.split()[1:] == from_file.split()[1:] and printed.split()[0] == "-"


def test_what_cannot_be_read_is_told_and_the_others_answered(folder: Path, model_file: Path, tmp_path: Path) -> None:
    Image.new("L", (20, 20), 255).save(tmp_path / "empty.png")
    files = (folder / "notes.txt", tmp_path / "none.png", tmp_path / "empty.png", folder / "a.png")
    printed, told = typed("predict", "--model", str(model_file), *map(str, files), check=False)
    assert printed.count("\n") == 1 and "a.png" in printed
    assert told.splitlines() == [
        f"{folder / 'notes.txt'}: no picture that can be read: PNG, JPEG, GIF, WEBP, TIFF, BMP can; save HEIC as JPEG",
        f"{tmp_path / 'none.png'}: No such file or directory",
        f"{tmp_path / 'empty.png'}: nothing is drawn on it",
        "error: 3 of 4 pictures could not be answered",
    ]


def test_a_folder_without_pictures_is_refused(model_file: Path, tmp_path: Path) -> None:
    _, told = typed("predict", "--model", str(model_file), str(tmp_path), check=False)
    assert told == f"error: {tmp_path}: no pictures in it; their names end with {predicting.ENDINGS}\n"


def test_what_the_model_saw_is_drawn(folder: Path, model_file: Path, tmp_path: Path) -> None:
    # Two rows of three pairs; whatever the name, it is a PNG.
    typed("predict", "--model", str(model_file), "--show", str(tmp_path / "seen.jpg"), str(folder))
    with Image.open(tmp_path / "seen.jpg") as drawn:
        assert (drawn.format, drawn.size) == ("PNG", (900, 350))
    many = [str(folder / "a.png")] * 21
    _, told = typed("predict", "--model", str(model_file), "--show", str(tmp_path / "seen"), *many)
    assert told == f"{tmp_path / 'seen'}: the first 20 of 21 pictures\n"
    with Image.open(tmp_path / "seen") as drawn:
        assert drawn.size == (900, 7 * 175)


def test_a_picture_is_read_and_drawn_in_colour_where_the_model_is(picture_file: Path, tmp_path: Path) -> None:
    model = Classifier.load(picture_file)
    Image.new("RGB", (40, 30), (200, 60, 40)).save(tmp_path / "a.png")
    printed, _ = typed(
        *("predict", "--json", "--model", str(picture_file), "--show", str(tmp_path / "seen.png")),
        str(tmp_path / "a.png"),
    )
    answer = model.answer(reading.read(tmp_path / "a.png", model.in_colour))
    assert json.loads(printed)["probabilities"] == answer.as_json()["probabilities"]
    with Image.open(tmp_path / "seen.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB"))
    grey = (200 * 19595 + 60 * 38470 + 40 * 7471 + 32768) >> 16
    level = (200, 60, 40) if model.in_colour else (grey, grey, grey)
    assert (pixels == level).all(2).sum() > 0.5 * 2 * 120 * 90  # the picture and what the model saw, neither a negative


LISTED = """
import json, sys
from softmax_regression.tools.command import main
sys.argv = ["softmax", "predict", *sys.argv[1:]]
try:
    main()
except SystemExit:
    print(json.dumps(list(sys.modules)))
"""


def test_it_starts_without_the_slow_libraries(folder: Path, model_file: Path) -> None:
    command = [sys.executable, "-c", LISTED, "--model", str(model_file), str(folder / "a.png")]
    printed = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    loaded = {name.partition(".")[0] for name in json.loads(printed[-1])}
    assert not loaded & {"torch", "mlflow", "dvc", "matplotlib", "pandas", "scipy", "sklearn", "pydantic", "fastapi"}
