"""What dvc.yaml and tutorial/dvc.yaml declare of each stage is what the stage uses."""

import json
import subprocess
import sys

import pytest
import yaml
from clone import ROOT

STAGES = {
    (folder, name): stage
    for folder, file in (("stages", "dvc.yaml"), ("tutorial", "tutorial/dvc.yaml"))
    for name, stage in yaml.safe_load((ROOT / file).read_text())["stages"].items()
}
SLOW_LIBRARIES = {
    ("stages", "download"): set(),
    ("stages", "train"): {"torch"},
    ("stages", "evaluate"): {"torch"},
    ("stages", "visualize"): {"matplotlib"},
    ("tutorial", "from_scratch"): {"torch"},
    ("tutorial", "builtin"): {"torch"},
    ("tutorial", "learning_curve"): {"torch"},
    ("tutorial", "draw"): {"matplotlib"},
    ("tutorial", "report"): {"torch"},
}

LIST_MODULES = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
files = [getattr(module, "__file__", None) for name, module in list(sys.modules.items())
         if name.split(".")[0] in ("softmax_regression", sys.argv[1])]
print(json.dumps([files, list(sys.modules)]))
"""


@pytest.fixture(scope="module", params=STAGES, ids="/".join)
def stage(request: pytest.FixtureRequest) -> tuple[tuple[str, str], set[str], set[str]]:
    """A stage's folder and name, the project's files it imports, and the names of all modules it imports."""
    folder, name = request.param
    found = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, name],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}/src:{ROOT}/{folder}"},
        check=True,
        capture_output=True,
        text=True,
    )
    files, modules = json.loads(found.stdout)
    return request.param, {file.removeprefix(f"{ROOT}/") for file in files}, set(modules)


def test_the_declared_modules_are_those_imported(stage: tuple[tuple[str, str], set[str], set[str]]) -> None:
    key, files, _ = stage
    assert {dep for dep in STAGES[key]["deps"] if dep.endswith(".py")} == files


def test_no_stage_imports_a_slow_library_it_does_not_use(stage: tuple[tuple[str, str], set[str], set[str]]) -> None:
    key, _, modules = stage
    assert {"torch", "torchvision", "matplotlib", "mlflow", "sklearn", "pooch"} & modules == SLOW_LIBRARIES[key]


def test_every_declared_parameter_is_in_its_file_and_every_one_of_those_is_declared() -> None:
    of_pipeline, of_tutorial = (
        [entry for (folder, _), stage in STAGES.items() if folder == wanted for entry in stage.get("params", [])]
        for wanted in ("stages", "tutorial")
    )
    own = [name for entry in of_tutorial if isinstance(entry, dict) for name in entry["tutorial/params.yaml"]]
    assert set(of_pipeline) == yaml.safe_load((ROOT / "params.yaml").read_text()).keys()
    assert set(own) == yaml.safe_load((ROOT / "tutorial/params.yaml").read_text()).keys()


def test_each_stage_is_described() -> None:
    assert all(stage["desc"].endswith(".") for stage in STAGES.values())
