"""What dvc.yaml declares of each stage is what the stage uses, and no arrow runs upwards."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from clone import ROOT

PACKAGE = ROOT / "src/softmax_regression"
ROOMS = (
    "base", "data", "pictures", "sources", "model", "features", "training", "results", "search", "drawing",
    "prediction", "tracking", "tools",
)  # fmt: skip
"""A room imports itself and rooms to its left."""
STAGES = {
    name: stage
    for file in ("dvc.yaml", "search/dvc.yaml")
    for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()
}
SLOW_LIBRARIES: dict[str, set[str]] = {
    "download": set(),
    "features": set(),
    "train": {"torch"},
    "evaluate": set(),
    "visualize": {"matplotlib"},
    "search": {"torch", "matplotlib"},
}
UNUSED = {
    "features": {"src/softmax_regression/base/project.py"},
    "search": {
        "src/softmax_regression/features/standardisation.py",
        "src/softmax_regression/search/preload.py",
        "src/softmax_regression/training/progress.py",
        "src/softmax_regression/training/workers.py",
    },
}
"""Files of a room that cannot change a stage's result, though it depends on the room: most of the others can."""

LATER = {"search": ("softmax_regression.search.turns", "softmax_regression.search.plots")}
"""What a stage imports once it has begun."""
LIST_MODULES = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps([[getattr(module, "__file__", None) or "" for module in sys.modules.values()], list(sys.modules)]))
"""


@pytest.fixture(scope="module", params=STAGES)
def stage(request: pytest.FixtureRequest) -> tuple[str, set[Path], set[str]]:
    """A stage's name, the project's files it imports, and the names of all modules it imports."""
    found = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, request.param, *LATER.get(request.param, ())],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}/src:{ROOT}/stages"},
        check=True,
        capture_output=True,
        text=True,
    )
    files, modules = json.loads(found.stdout)
    own = {Path(file) for file in files if Path(file).is_relative_to(ROOT) and "site-packages" not in file}
    return request.param, own, set(modules)


def determining(files: set[Path]) -> set[Path]:
    """The files that can change an output: not those that record what was done, nor a room's first line."""
    return {file for file in files if "tracking" not in file.parts and file.name != "__init__.py"}


def declared(name: str) -> dict[str, set[Path]]:
    """For each of a stage's dependencies on code, the files in it."""
    code = [ROOT / dep for dep in STAGES[name]["deps"] if dep.startswith("src/") or dep.endswith(".py")]
    return {str(dep.relative_to(ROOT)): set(dep.rglob("*.py")) if dep.is_dir() else {dep} for dep in code}


def test_every_file_that_a_stage_imports_is_declared(stage: tuple[str, set[Path], set[str]]) -> None:
    name, files, _ = stage
    assert determining(files) <= set().union(*declared(name).values())


def test_everything_declared_is_imported(stage: tuple[str, set[Path], set[str]]) -> None:
    name, files, _ = stage
    for code, inside in declared(name).items():
        assert inside & files, code
        # An edit of a file that cannot change the result would rerun the stage.
        assert determining(inside) - files == {ROOT / file for file in UNUSED.get(name, set()) if file.startswith(code)}


def test_no_stage_depends_on_more_than_can_be_taken_in_at_a_glance() -> None:
    assert max(len(stage["deps"]) for stage in STAGES.values()) <= 11


def test_no_stage_imports_a_slow_library_it_does_not_use(stage: tuple[str, set[Path], set[str]]) -> None:
    name, _, modules = stage
    assert {"torch", "torchvision", "matplotlib", "mlflow", "sklearn", "pooch"} & modules == SLOW_LIBRARIES[name]


def imports(file: Path) -> list[list[str]]:
    """The dotted names that a file imports, functions' own imports included."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named = [(node.module, alias) for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    return [name.split(".") for name in [*plain, *(f"{module}.{alias.name}" for module, alias in named)]]


def test_the_rooms_are_those_of_the_map() -> None:
    assert {path.parent.name for path in PACKAGE.glob("*/__init__.py")} == set(ROOMS)
    assert [path.name for path in PACKAGE.glob("*.py")] == ["__init__.py"]


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_upwards(room: str) -> None:
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    if room == "tracking":
        # The stages pass it files and figures, and it knows no more of them; of features what goes along with a model.
        allowed = {"base", "features", "results", "tracking"}
    for file in (PACKAGE / room).glob("*.py"):
        assert {names[1] for names in imports(file) if names[0] == "softmax_regression"} <= allowed, file.name


def test_a_room_holds_modules_and_says_in_its_first_line_what_they_are() -> None:
    for room in ROOMS:
        (statement,) = ast.parse((PACKAGE / room / "__init__.py").read_text()).body
        assert isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def test_training_and_results_know_nothing_of_mlflow_or_dvc() -> None:
    for room in set(ROOMS) - {"tracking", "tools"}:
        for file in (PACKAGE / room).glob("*.py"):
            assert not {names[0] for names in imports(file)} & {"mlflow", "dvc"}, file


def test_every_declared_parameter_is_in_its_file_and_every_one_of_those_is_declared() -> None:
    declared = {name for stage in STAGES.values() for name in stage.get("params", []) if isinstance(name, str)}
    assert declared == yaml.safe_load((ROOT / "params.yaml").read_text()).keys()


def test_each_stage_is_described() -> None:
    assert all(stage["desc"].endswith(".") for stage in STAGES.values())
