"""What dvc.yaml declares of each stage is what the stage uses."""

import json
import subprocess
import sys

import pytest
import yaml
from clone import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

LIST_MODULES = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
files = [getattr(module, "__file__", None) for name, module in list(sys.modules.items())
         if name.split(".")[0] in ("softmax_regression", sys.argv[1])]
print(json.dumps([files, list(sys.modules)]))
"""


@pytest.fixture(scope="module", params=list(STAGES))
def stage(request: pytest.FixtureRequest) -> tuple[str, set[str], set[str]]:
    """A stage's name, the project's files it imports, and the names of all modules it imports."""
    found = subprocess.run(
        [sys.executable, "-c", LIST_MODULES, request.param],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}/src:{ROOT}/stages"},
        check=True,
        capture_output=True,
        text=True,
    )
    files, modules = json.loads(found.stdout)
    return request.param, {file.removeprefix(f"{ROOT}/") for file in files}, set(modules)


def test_the_declared_modules_are_those_imported(stage: tuple[str, set[str], set[str]]) -> None:
    name, files, _ = stage
    assert {dep for dep in STAGES[name]["deps"] if dep.endswith(".py")} == files


def test_no_stage_imports_a_slow_library_it_does_not_use(stage: tuple[str, set[str], set[str]]) -> None:
    name, _, modules = stage
    slow = {"torch", "torchvision", "matplotlib", "mlflow", "sklearn", "pooch"} & modules
    assert (
        slow
        == {
            "download": set(),
            "train": {"torch"},
            "evaluate": {"torch"},
            "visualize": {"matplotlib"},
        }[name]
    )


def test_every_declared_parameter_is_in_params_yaml_and_every_one_of_those_is_declared() -> None:
    declared = {name for stage in STAGES.values() for name in stage.get("params", [])}
    assert declared == yaml.safe_load((ROOT / "params.yaml").read_text()).keys()


def test_each_stage_is_described() -> None:
    assert all(stage["desc"].endswith(".") for stage in STAGES.values())
