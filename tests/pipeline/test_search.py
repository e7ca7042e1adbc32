"""A search as its users run it: what `make search` ends with, and what becomes of its settings."""

import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from clone import ROOT, Clone
from mlflow import MlflowClient
from pages import commands, deviations, type_all

from softmax_regression.base.files import read_csv, sha256

SEARCHED = {"lr": "[0.5, 1, 1000000]", "lr_schedule": "linear", "momentum": 0.9, "weight_decay": 0, "seed": 0}
FILES = ("best.yaml", "results.csv", "figures/cost_over_lr.png")


def write_grid(clone: Clone, **values: object) -> None:
    clone.set_parameters("search/search.yaml", **{**SEARCHED, "epochs": 3, "rungs": "[]", **values})


@pytest.fixture(scope="module")
def searched(trained: Clone, tmp_path_factory: pytest.TempPathFactory) -> tuple[Clone, str]:
    """A clone in which three settings were searched, one of which diverges at once; and what that printed last."""
    clone = trained.copy(tmp_path_factory.mktemp("search") / "clone")
    write_grid(clone)
    printed = clone.make("search")
    clone.run("git", "add", "search")
    clone.run("git", "commit", "--all", "--quiet", "--message", "Three settings")
    return clone, printed


def test_each_command_prints_what_the_page_says(trained: Clone, tmp_path: Path) -> None:
    typed = commands("search.md")
    wrong = deviations(typed, type_all(trained.copy(tmp_path / "clone"), typed))
    assert not wrong, wrong


def test_the_search_in_git_has_the_pipelines_model() -> None:
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text())
    (row,) = [
        row
        for row in rows(ROOT)
        if all(str(parameters[name]) == value for name, value in row.items() if name in parameters)
    ]
    readme = (ROOT / "README.md").read_text()
    assert f"| `mnist` | `{row['sha256']}` |" in readme
    best = yaml.safe_load((ROOT / "search/best.yaml").read_text())
    assert float(row["valid_cost"]) < best["valid_cost"] + 0.001


def rows(folder: Path) -> list[dict[str, str]]:
    columns = read_csv(folder / "search/results.csv", ["lr", "sha256"])
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def test_each_model_is_what_its_setting_trains_alone(searched: tuple[Clone, str], tmp_path: Path) -> None:
    clone = searched[0].copy(tmp_path / "clone")
    found = rows(clone.folder)
    assert [(row["lr"], row["end"], row["epochs_done"]) for row in found] == [
        ("0.5", "trained", "3"),
        ("1.0", "trained", "3"),
        ("1000000.0", "diverged", "0"),
    ]
    for row in found:
        values = {name: row[name] for name in list(row)[:8]}
        clone.set_parameters(**values)
        said = clone.run("sh", "stages/run", "stages/train.py", check=row["end"] == "trained")
        if row["end"] == "trained":
            assert sha256(clone.folder / "models/softmax.safetensors") == row["sha256"]
            costs = read_csv(clone.folder / "metrics/costs.csv", ["valid_cost", "valid_accuracy"])
            assert (costs["valid_cost"][-1], costs["valid_accuracy"][-1]) == (row["valid_cost"], row["valid_accuracy"])
        else:
            assert "the cost is no longer finite" in said


def test_the_command_that_it_ends_with_makes_the_best_the_pipelines(
    searched: tuple[Clone, str], tmp_path: Path
) -> None:
    clone = searched[0].copy(tmp_path / "clone")
    *_, digest, command = searched[1].splitlines()
    assert digest == yaml.safe_load((clone.folder / "search/best.yaml").read_text())["sha256"]
    clone.run(*command.split())
    assert sha256(clone.folder / "models/softmax.safetensors") == digest
    assert "up to date" in clone.run("dvc", "status")  # the data being the same, the search is as well


def test_mlflow_has_a_run_for_each_setting_below_that_of_the_search(searched: tuple[Clone, str]) -> None:
    clone, _ = searched
    client = MlflowClient(f"sqlite:///{clone.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("softmax-regression-search")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = {run.info.run_name: run for run in runs if run is not parent}
    assert {run.data.tags["mlflow.parentRunId"] for run in children.values()} == {parent.info.run_id}
    found = {f"lr={row['lr']}": row for row in rows(clone.folder)}
    assert children.keys() == found.keys()
    for name, run in children.items():
        assert run.data.params == {each: found[name][each] for each in list(found[name])[:8]}
        assert (run.data.tags["end"], run.data.tags.get("child.model.sha256", "")) == (
            found[name]["end"],
            found[name]["sha256"],
        )
        curve = client.get_metric_history(run.info.run_id, "valid_cost")
        assert [entry.step for entry in curve] == list(range(int(found[name]["epochs_done"])))
        assert not curve or str(curve[-1].value) == found[name]["valid_cost"]
    assert (parent.info.status, parent.data.params["trainings"]) == ("FINISHED", "3")
    artifacts = {file.path for folder in ("", "figures") for file in client.list_artifacts(parent.info.run_id, folder)}
    assert {"best.yaml", "results.csv", "search.yaml", "figures/cost_over_lr.png"} <= artifacts


@pytest.mark.slow
def test_an_experiment_changes_the_grid_and_what_ran_before_does_not_run_again(
    searched: tuple[Clone, str], tmp_path: Path
) -> None:
    clone = searched[0].copy(tmp_path / "clone")
    setting = ["search/search.yaml:lr=[0.3]", "search/search.yaml:seed=[0,1,2,3]", "search/search.yaml:rungs=[1]"]
    options = [word for each in setting for word in ("-S", each)]
    clone.run("dvc", "exp", "run", "--temp", "--name", "seeds", "search/dvc.yaml", *options)
    assert clone.run("git", "status", "--porcelain") == ""
    clone.run("dvc", "exp", "apply", "seeds")
    assert [(row["lr"], row["seed"], row["end"]) for row in rows(clone.folder)] == [
        ("0.3", str(seed), "trained") for seed in range(4)
    ]
    assert (clone.folder / "search/figures/seeds.png").exists()
    clone.run("git", "checkout", "--quiet", ".")
    assert "Running" not in clone.run("dvc", "repro", "search/dvc.yaml")
    clone.run("git", "clean", "--force", "--quiet", "search")
    clone.set_parameters("search/search.yaml", lr="[0.3]", seed="[0, 1, 2, 3]", rungs="[1]")
    assert "is cached - skipping run" in clone.run("dvc", "repro", "search/dvc.yaml")


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_with_the_same_bytes(searched: tuple[Clone, str], tmp_path: Path) -> None:
    clone = searched[0].copy(tmp_path / "clone")
    write_grid(clone, epochs=1000, lr="[0.5, 1]", rungs="[500]")
    stage = subprocess.Popen(["sh", "stages/run", "stages/search.py"], cwd=clone.folder, env=clone.environment)
    while not list((clone.folder / ".checkpoints").glob("*/*.safetensors")):
        assert stage.poll() is None
        time.sleep(0.05)
    stage.send_signal(signal.SIGKILL)
    stage.wait()
    assert "going on with the search" in clone.run("sh", "stages/run", "stages/search.py")
    resumed = [(clone.folder / "search" / name).read_bytes() for name in FILES]
    assert not list((clone.folder / ".checkpoints").iterdir())
    assert "going on" not in clone.run("sh", "stages/run", "stages/search.py")
    assert [(clone.folder / "search" / name).read_bytes() for name in FILES] == resumed


def test_what_cannot_be_searched_is_told_in_a_line(searched: tuple[Clone, str], tmp_path: Path) -> None:
    clone = searched[0].copy(tmp_path / "clone")
    write_grid(clone, lr="{from: 1, to: 0.1, count: 3}", seed="[]")
    said = clone.run("dvc", "repro", "search/dvc.yaml", check=False)
    (line,) = re.findall("^error: .*", said, flags=re.MULTILINE)
    assert line == (
        "error: search/search.yaml: lr = {'count': 3, 'from': 1, 'to': 0.1}: from must be less than to; "
        "seed = []: must hold a value at least"
    )
    assert "Traceback" not in said


def test_where_every_setting_diverges_it_is_told_in_a_line(searched: tuple[Clone, str], tmp_path: Path) -> None:
    clone = searched[0].copy(tmp_path / "clone")
    write_grid(clone, lr="[1000000, 999999]")
    said = clone.run("dvc", "repro", "search/dvc.yaml", check=False)
    assert "error: search/search.yaml: no setting could be trained to the end, as the cost is no longer finite" in said
    assert "Traceback" not in said and "Warning" not in said
