import contextlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import download
import pytest
import train
import visualize
from clone import ROOT
from dvc.utils.serialize import parse_yaml
from hypothesis import assume, example, given
from hypothesis import strategies as st
from parameters import TutorialParameters
from ruamel.yaml import YAML

from softmax_regression.base.errors import UserError
from softmax_regression.base.running import run
from softmax_regression.data.parameters import Parameters

GOOD: dict[str, object] = {
    "dataset": "mnist",
    "image_size": "auto",
    "colour": "auto",
    "allow_duplicates": False,
    "validation": 0.1,
    "features": "pixels",
    "implementation": "scratch",
    "init_std": 0.01,
    "lr": 0.1,
    "lr_schedule": "cosine",
    "epochs": 30,
    "batch_size": 256,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "seed": 0,
    "device": "auto",
    "workers": 1,
    "figure_dpi": 100,
    "figure_mistakes": 25,
}


def dump(values: dict[str, object]) -> str:
    """As YAML 1.2, in which 1e5 is a number: to PyYAML it is a text that needs no quotes."""
    writer, text = YAML(typ="safe", pure=True), io.StringIO()
    writer.default_flow_style = False
    writer.dump(values, text)
    return text.getvalue()


GOOD_TEXT = dump(GOOD)
NUMBERS = ("validation", "init_std", "lr", "momentum", "weight_decay")
INTEGERS = ("epochs", "batch_size", "seed", "workers", "figure_dpi", "figure_mistakes")
NAN, INFINITY = float("nan"), float("inf")
CHOICES = ("colour", "implementation", "lr_schedule", "device")

PLACES = "must be mnist, fashion_mnist, kmnist, digits, or a path below the project"
SIZES = "must be auto, or height x width such as 28x28, each up to 256"


def read(folder: Path, content: str | bytes) -> Parameters:
    path = folder / "params.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return Parameters.read(path)


def refusal(folder: Path, content: str | bytes) -> str:
    """What is said of wrong contents, without the file's name in front; always one printable line."""
    with pytest.raises(UserError) as refused:
        read(folder, content)
    start, message = f"{folder / 'params.yaml'}: ", str(refused.value)
    assert message.startswith(start) and message.isprintable()
    return message.removeprefix(start)


def changed(**values: object) -> str:
    return dump({**GOOD, **values})


def test_the_committed_file_is_valid() -> None:
    assert Parameters.read(ROOT / "params.yaml").model_dump().keys() == GOOD.keys()


def test_every_value_is_read_as_it_stands(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD_TEXT).model_dump() == GOOD


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("dataset", name) for name in ("mnist", "digits", 'own/it\'s "my" photos ü.zip', "./photos/", "..x/y..")),
        *(("image_size", size) for size in ("auto", "1x1", "28x28", "256x256", "32x064")),
        *(("colour", name) for name in ("auto", "grey", "rgb")),
        *(("allow_duplicates", allowed) for allowed in (False, True)),
        *(("implementation", name) for name in ("scratch", "builtin")),
        *(("lr_schedule", name) for name in ("constant", "linear", "cosine")),
        *(("device", name) for name in ("auto", "cpu", "cuda")),
        *(("validation", share) for share in (1e-9, 0.999)),
        *(("momentum", share) for share in (0.0, 0.999)),
        *((key, 0.0) for key in ("init_std", "weight_decay")),
        *((key, 1) for key in ("epochs", "batch_size", "figure_mistakes")),
        *(("seed", seed) for seed in (0, 2**63 - 1)),
        *(("figure_dpi", dpi) for dpi in (20, 600)),
        *((key, 1_000_000) for key in ("epochs", "init_std", "lr", "weight_decay")),
        ("batch_size", 1_000_000_000),
        ("figure_mistakes", 100),
        ("workers", 1024),
        ("lr", 5),
    ],
)
def test_what_the_comments_allow_is_accepted(key: str, value: object, tmp_path: Path) -> None:
    assert getattr(read(tmp_path, changed(**{key: value})), key) == value


@pytest.mark.parametrize("text", ["1e-05", "1e-5", "1E-5", "+.1e-4", "10.e-6"])
def test_a_number_with_an_exponent_needs_no_point(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, GOOD_TEXT.replace("lr: 0.1", f"lr: {text}")).lr == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        *(
            ("dataset", path, f"dataset = {path!r}: {PLACES}")
            for path in ("", " ", "/photos", "../photos", "a/../b", "a\tb")
        ),
        ("dataset", 2024, f"dataset = 2024: {PLACES}"),
        *(
            ("image_size", size, f"image_size = {size!r}: {SIZES}")
            for size in (28, "28", "0x1", "257x1", "28×28", "28x28x3")
        ),
        ("colour", "gray", "colour = 'gray': must be 'auto', 'grey' or 'rgb'"),
        ("allow_duplicates", "yes", "allow_duplicates = 'yes': must be a valid boolean"),
        ("implementation", "torch", "implementation = 'torch': must be 'scratch' or 'builtin'"),
        ("lr_schedule", "step", "lr_schedule = 'step': must be 'constant', 'linear' or 'cosine'"),
        ("device", "gpu", "device = 'gpu': must be 'auto', 'cpu' or 'cuda'"),
        ("validation", 0, "validation = 0: must be greater than 0"),
        ("validation", 1, "validation = 1: must be less than 1"),
        ("init_std", -0.01, "init_std = -0.01: must be greater than or equal to 0"),
        ("lr", 0.0, "lr = 0.0: must be greater than 0"),
        *(
            (key, 1e39, f"{key} = 1e+39: must be less than or equal to 1000000")  # too large for float32
            for key in ("init_std", "lr", "weight_decay")
        ),
        ("epochs", 0, "epochs = 0: must be greater than or equal to 1"),
        ("epochs", 1_000_001, "epochs = 1000001: must be less than or equal to 1000000"),
        ("batch_size", 0, "batch_size = 0: must be greater than or equal to 1"),
        ("batch_size", 10**9 + 1, "batch_size = 1000000001: must be less than or equal to 1000000000"),
        ("momentum", -0.1, "momentum = -0.1: must be greater than or equal to 0"),
        ("momentum", 1.0, "momentum = 1.0: must be less than 1"),
        ("weight_decay", -1e-9, "weight_decay = -1e-09: must be greater than or equal to 0"),
        ("seed", -1, "seed = -1: must be greater than or equal to 0"),
        ("seed", 2**63, f"seed = {2**63}: must be less than {2**63}"),
        ("figure_dpi", 19, "figure_dpi = 19: must be greater than or equal to 20"),
        ("figure_dpi", 601, "figure_dpi = 601: must be less than or equal to 600"),
        ("figure_mistakes", 0, "figure_mistakes = 0: must be greater than or equal to 1"),
        ("figure_mistakes", 101, "figure_mistakes = 101: must be less than or equal to 100"),
        *((key, value, f"{key} = {value!r}: must be a valid number") for key in NUMBERS for value in (True, "x", None)),
        *((key, value, f"{key} = {value}: must be a finite number") for key in NUMBERS for value in (NAN, INFINITY)),
        *(
            (key, value, f"{key} = {value!r}: must be a valid integer")
            for key in INTEGERS
            for value in (True, "7", 7.0)
        ),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_what_is_allowed(
    key: str, value: object, message: str, tmp_path: Path
) -> None:
    assert refusal(tmp_path, changed(**{key: value})) == message


@pytest.mark.parametrize("key", CHOICES)
def test_a_choice_takes_no_number_and_no_list(key: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, changed(**{key: 1})).startswith(f"{key} = 1: must be '")
    assert refusal(tmp_path, changed(**{key: ["cpu"]})).startswith(f"{key} = ['cpu']: must be '")


@pytest.mark.parametrize("key", GOOD)
def test_a_missing_key_is_named(key: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, dump({**GOOD, key: 0}).replace(f"{key}: 0\n", "")) == f"{key} is missing"


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("batchsize", "batch_size"),
        ("LR", "lr"),
        ("learning_rate", "lr"),
        ("epoch", "epochs"),
        ("momentum ", "momentum"),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_known_one(key: str, nearest: str, tmp_path: Path) -> None:
    told = refusal(tmp_path, changed(**{key: 1}))
    assert told == f"{key.strip()} is unknown, the nearest known key is {nearest}"


def test_a_key_that_resembles_none_is_unknown_all_the_same(tmp_path: Path) -> None:
    assert refusal(tmp_path, changed(**{"": 1})).startswith(" is unknown, the nearest known key is ")


def test_a_key_there_twice_is_refused_with_the_line_of_the_second(tmp_path: Path) -> None:
    told = refusal(tmp_path, GOOD_TEXT + "lr: 0.2\n")
    assert told.startswith('not a YAML text: while constructing a mapping found duplicate key "lr"')
    assert told.endswith(f"line {len(GOOD) + 1}, column 1")


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    told = refusal(tmp_path, changed(lr=-1, epochs="many", moment=0.5))
    assert told == (
        "lr = -1: must be greater than 0; epochs = 'many': must be a valid integer; "
        "moment is unknown, the nearest known key is momentum"
    )


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "- lr\n- epochs\n", "0.1\n", "lr\n", "1: 2\n", "true: 1\n", "? [lr]\n: 0.1\n"]
)
def test_what_holds_no_keys_and_values_is_refused(text: str, tmp_path: Path) -> None:
    told = refusal(tmp_path, text)
    assert told == f"must hold 'key: value' lines, keys being {', '.join(GOOD)}"


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\x00\xff",
        b"lr: \x00\n",
        b"lr: [\n",
        b"lr: 0.1\n---\nlr: 0.2\n",
        b"lr: !!python/object/apply:os.mkdir [unpickled]\n",
        b"lr: !!int ''\n",
        b"lr: !!bool x\n",
        b"lr: 2020-13-45\n",
        b"[" * 500,
    ],
)
def test_what_is_not_yaml_is_refused_and_nothing_of_it_run(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(tmp_path, content).startswith("not a YAML text: ")
    assert not (tmp_path / "unpickled").exists()


def test_a_value_of_many_lines_is_told_in_one_short_line(tmp_path: Path) -> None:
    told = refusal(tmp_path, changed(device="cpu\n" * 1000))
    assert re.fullmatch(r"device = '[cpu\\n]+\.\.\.[cpu\\n]+': must be 'auto', 'cpu' or 'cuda'", told)


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeff" + GOOD_TEXT.replace("\n", "\r\n")).model_dump() == GOOD


def test_a_missing_file_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^\S+/params\.yaml: cannot be read: No such file or directory$"):
        Parameters.read(tmp_path / "params.yaml")


def test_a_stage_ends_with_2_and_one_line_and_without_data(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(changed(dataset="/mnist"))
    stage = subprocess.run(
        [sys.executable, ROOT / "stages/download.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert (stage.returncode, stage.stdout) == (2, "")
    assert stage.stderr == f"error: params.yaml: dataset = '/mnist': {PLACES}\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "params.yaml"]


def is_elsewhere(path: str) -> bool:
    return path[0] == "/" or ".." in path.split("/")


def is_size(size: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,3}x[0-9]{1,3}", size)) and all(1 <= int(side) <= 256 for side in size.split("x"))


NUMBER, INTEGER, TEXT = (int, float), (int,), (str,)
SHARE = (NUMBER, lambda value: 0 <= value < 1)
MILLION = (NUMBER, lambda value: 0 <= value <= 1_000_000)
RANGES: dict[str, tuple[tuple[type, ...], Callable[[Any], bool]]] = {
    "dataset": (TEXT, lambda path: path.isprintable() and path.strip() and not is_elsewhere(path)),
    "image_size": (TEXT, lambda size: size == "auto" or is_size(size)),
    "colour": (TEXT, ("auto", "grey", "rgb").__contains__),
    "allow_duplicates": ((bool,), (True, False).__contains__),
    "features": (TEXT, ("pixels", "scattering").__contains__),
    "implementation": (TEXT, ("scratch", "builtin").__contains__),
    "lr_schedule": (TEXT, ("constant", "linear", "cosine").__contains__),
    "device": (TEXT, ("auto", "cpu", "cuda").__contains__),
    "validation": (NUMBER, lambda value: 0 < value < 1),
    "init_std": MILLION,
    "lr": (NUMBER, lambda value: 0 < value <= 1_000_000),
    "momentum": SHARE,
    "weight_decay": MILLION,
    "epochs": (INTEGER, lambda value: 1 <= value <= 1_000_000),
    "batch_size": (INTEGER, lambda value: 1 <= value <= 1_000_000_000),
    "seed": (INTEGER, lambda value: 0 <= value < 2**63),
    "workers": (INTEGER, lambda value: 1 <= value <= 1024),
    "figure_dpi": (INTEGER, lambda value: 20 <= value <= 600),
    "figure_mistakes": (INTEGER, lambda value: 1 <= value <= 100),
}
"""What the comments in params.yaml allow, said once more."""


def allowed(key: str, value: object) -> bool:
    types, within = RANGES[key]
    return type(value) in types and bool(within(value))


WORDS = [word for words in (re.findall(r"\w+", GOOD_TEXT), RANGES, ("cpu", "constant", "builtin")) for word in words]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-1000, 1_000_000),
    st.integers(2**62, 2**66),
    st.floats(),
    st.floats(0, 1.1),
    st.sampled_from([10**4000, -(10**4000), 5e-324, 1.8e308, 1e39]),
    st.text(),
    st.sampled_from(WORDS),
    st.dates(),
    st.datetimes(),
    st.binary(),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with outputs of an earlier run, in which the stages that read params.yaml are started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for name in ("data/train.safetensors", "models/softmax.safetensors", "metrics/costs.csv", "figures/costs.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("as it was")
    return tmp_path


def assert_stages_refuse(project: Path, content: str | bytes) -> str:
    """Each stage that reads the parameters ends with 2, one line, and all files as they were; return that line."""
    (project / "params.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}
    lines = set()
    for stage in (download, train, visualize):
        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr), pytest.raises(SystemExit) as ended:
            run(stage.main)
        assert ended.value.code == 2
        lines.add(stderr.getvalue())
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before
    (line,) = lines
    assert line.startswith("error: params.yaml: ") and line.endswith("\n")
    assert line[:-1].isprintable() and len(line) < 5000
    return line


@given(key=st.sampled_from(list(GOOD)), value=VALUES)
def test_any_value_is_either_allowed_or_refused_by_its_key(key: str, value: object, project: Path) -> None:
    text = changed(**{key: value})
    if allowed(key, value):
        assert getattr(read(project, text), key) == value
    else:
        assert assert_stages_refuse(project, text).startswith(f"error: params.yaml: {key} = ")


@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=30))
@example(text="0x" + "f" * 5000)
@example(text="1" * 5000)
@example(text="010")
@example(text="1:30")
def test_whatever_stands_behind_a_key_is_what_dvc_reads_or_is_refused(text: str, project: Path) -> None:
    content = GOOD_TEXT.replace("seed: 0", f"seed: {text}")
    try:
        parameters = read(project, content)
    except UserError:
        assert_stages_refuse(project, content)
    else:
        assert parameters.seed == parse_yaml(content, "params.yaml")["seed"]


@given(keys=st.lists(st.text(min_size=1), min_size=1, max_size=40, unique=True))
def test_any_unknown_keys_are_refused(keys: list[str], project: Path) -> None:
    assume(not set(keys) & GOOD.keys())
    told = assert_stages_refuse(project, changed(**dict.fromkeys(keys, 1)))
    assert told.count(" is unknown, the nearest known key is ") == min(len(keys), 20)


@given(keys=st.lists(st.sampled_from(list(GOOD)), min_size=1, max_size=5), start=st.booleans())
def test_any_key_there_twice_is_refused_by_its_name(keys: list[str], start: bool, project: Path) -> None:
    again = "".join(f"{key}: {GOOD[key]}\n" for key in keys)
    told = assert_stages_refuse(project, again + GOOD_TEXT if start else GOOD_TEXT + again)
    assert any(f'found duplicate key "{key}"' in told for key in keys)


@given(content=st.binary() | st.text() | st.lists(st.sampled_from([*WORDS, *"[]{}:,&*!|>%@-#\n\t '\""])).map("".join))
@example(content=b"")
@example(content=bytes(1000))
def test_any_other_content_is_refused(content: str | bytes, project: Path) -> None:
    assert_stages_refuse(project, content)


@given(place=st.integers(0, len(GOOD_TEXT) - 1), cut=st.integers(0, 20), inserted=st.binary(max_size=5))
def test_a_damaged_file_is_read_as_dvc_does_or_refused(place: int, cut: int, inserted: bytes, project: Path) -> None:
    content = GOOD_TEXT[:place].encode() + inserted + GOOD_TEXT[place + cut :].encode()
    try:
        parameters = read(project, content)
    except UserError:
        assert_stages_refuse(project, content)
    else:
        assert all(allowed(*item) for item in parameters.model_dump().items())
        assert parameters.model_dump() == parse_yaml(content.decode(), "params.yaml")


@pytest.mark.parametrize("unit", ["\0", "x", "[", "k: 1\n", "# nothing\n", "lr: 1\n", "\xff"])
def test_ten_megabytes_are_refused_unread(unit: str, project: Path) -> None:
    told = assert_stages_refuse(project, unit.encode("latin-1") * (10_000_000 // len(unit)))
    assert told == "error: params.yaml: holds more than 100000 bytes, too many for parameters\n"


def test_lists_that_grow_exponentially_are_refused(project: Path) -> None:
    levels = [f"l{level + 1}: &l{level + 1} [{','.join([f'*l{level}'] * 9)}]\n" for level in range(30)]
    assert "l1 is unknown" in assert_stages_refuse(project, GOOD_TEXT + "l0: &l0 [1]\n" + "".join(levels))
    text = "l0: &l0 [1]\n" + "".join(levels) + GOOD_TEXT.replace("lr: 0.1", "lr: *l30")
    assert "lr = [[[" in assert_stages_refuse(project, text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("article_epochs: 1000", "article_epochs = 1000: must be greater than or equal to 1001"),
        ("curve_sizes: [25, 0]", "curve_sizes = 0: must be greater than or equal to 1"),
        ("curve_sizes: 25", "curve_sizes = 25: must be a valid list"),
        ("article_seed: 100", "article_seed is unknown, the nearest known key is article_seeds"),
    ],
)
def test_the_tutorials_parameters_are_checked_alike(line: str, message: str, tmp_path: Path) -> None:
    good = (ROOT / "tutorial/params.yaml").read_text()
    path = tmp_path / "params.yaml"
    path.write_text(re.sub(rf"^{line.partition(':')[0]}: .*\n", "", good, flags=re.MULTILINE) + line + "\n")
    with pytest.raises(UserError) as refused:
        TutorialParameters.read(path)
    assert str(refused.value) == f"{path}: {message}"


def test_the_tutorials_committed_file_is_valid() -> None:
    assert TutorialParameters.read(ROOT / "tutorial/params.yaml").curve_sizes[0] == 25
