"""The commands of docs/experiments.md, typed one after the other, and what they leave behind."""

import re

import pytest
import yaml
from clone import Clone, stages_run
from mlflow import MlflowClient
from mlflow.entities import Run
from pages import commands, deviations, type_all

from softmax_regression.base.files import sha256

COMMANDS = commands("experiments.md")


class Session:
    """A clone in which the page's commands were typed, and what each of them printed."""

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        self.printed = type_all(clone, COMMANDS)

    def runs(self) -> list[Run]:
        """All runs in the clone's MLflow, the newest first."""
        client = MlflowClient(f"sqlite:///{self.clone.folder / 'mlflow.db'}")
        return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


@pytest.fixture(scope="module")
def session(trained: Clone, tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(trained.copy(tmp_path_factory.mktemp("experiments") / "clone"))


@pytest.fixture
def another(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A copy of the clone with all the experiments, and an empty MLflow."""
    return session.clone.copy(tmp_path_factory.mktemp("another") / "clone")


def test_each_command_prints_what_the_page_says(session: Session) -> None:
    wrong = deviations(COMMANDS, session.printed)
    assert not wrong, wrong


def test_each_experiment_is_one_complete_run_of_its_name(session: Session) -> None:
    runs = {run.info.run_name: run for run in session.runs()}
    assert runs.keys() == {"faster", "slow", "sweep-1", "sweep-2", "sweep-3", "sweep-4"}
    assert len(session.runs()) == len(runs)
    for name, run in runs.items():
        assert (run.info.status, run.data.tags["dvc.experiment"]) == ("FINISHED", name)
        assert run.data.metrics.keys() >= {"train_cost", "valid_accuracy", "test_accuracy", "recall/7"}
    assert [runs[f"sweep-{number}"].data.params["lr"] for number in (1, 2, 3, 4)] == ["0.2", "0.2", "0.5", "0.5"]
    assert [runs[f"sweep-{number}"].data.params["epochs"] for number in (1, 2, 3, 4)] == ["1", "2", "1", "2"]
    assert runs["slow"].data.params["lr"] == "1e-05"
    assert {key: runs["faster"].data.params[key] for key in ("lr", "momentum")} == {"lr": "0.5", "momentum": "0.5"}
    assert not list((session.clone.folder / ".journal").glob("*/event.json"))


def test_the_figures_of_an_experiment_in_a_copy_are_kept(session: Session) -> None:
    (run,) = [run for run in session.runs() if run.info.run_name == "slow"]
    client = MlflowClient(f"sqlite:///{session.clone.folder / 'mlflow.db'}")
    assert len(client.list_artifacts(run.info.run_id, "figures")) == 8


def test_the_page_of_plots_lays_the_curves_of_two_experiments_over_each_other(session: Session) -> None:
    page = (session.clone.folder / "dvc_plots/index.html").read_text()
    assert {"Cost (nats)", "Validation accuracy", "Confusion matrix"} <= set(re.findall(r'"text": "(.*?)"', page))
    assert set(re.findall(r'"rev": "(.*?)"', page)) == {"sweep-1", "sweep-4"}


def test_an_experiment_that_ran_before_starts_no_stage_and_its_model_names_its_run(
    session: Session, another: Clone
) -> None:
    printed = another.run("dvc", "exp", "run", "-S", "lr=0.5", "-S", "momentum=0.5")
    assert stages_run(printed) == []
    assert printed.count("is cached - skipping run") == 3
    assert not (another.folder / "mlflow.db").exists()  # no stage that could record anything was started

    restored = sha256(another.folder / "models/softmax.safetensors")
    assert [run.info.run_name for run in session.runs() if run.data.tags["model.sha256"] == restored] == ["faster"]


def test_an_applied_experiment_is_the_workspace_and_a_branch_holds_one(another: Clone) -> None:
    another.run("dvc", "exp", "apply", "sweep-3")
    parameters = yaml.safe_load((another.folder / "params.yaml").read_text())
    assert (parameters["lr"], parameters["epochs"]) == (0.5, 1)
    assert "up to date" in another.run("dvc", "status", "dvc.yaml")

    another.run("git", "restore", ".")
    another.run("git", "checkout", "--quiet", "longer")
    another.run("dvc", "checkout")
    parameters = yaml.safe_load((another.folder / "params.yaml").read_text())
    assert (parameters["lr"], parameters["epochs"]) == (0.5, 2)
    assert stages_run(another.run("dvc", "repro")) == []


def test_the_table_fits_a_terminal(another: Clone) -> None:
    lines = another.make("experiments").splitlines()
    assert max(map(len, lines)) <= 100
    names = [
        "valid_cost",
        "above the best",
        "lr",
        "epochs",
        "momentum",
        "valid_accuracy (95 %)",
    ]  # none of the test images
    assert re.split("  +", lines[0].strip()) == names
    assert [re.split("  +", line.strip())[0] for line in lines][1:] == [
        *("sweep-4", "again", "faster", "sweep-2", "sweep-3", "main", "sweep-1")
    ]


def test_a_sweep_ends_with_the_ranked_table_and_a_plot(another: Clone) -> None:
    settings = "-S 'lr=choice(0.2,-1,0.5)' -S epochs=1 -S momentum=0.9"
    printed = another.run("bash", "-c", f"softmax sweep {settings}", check=False)
    assert re.search(r"of 3: .*: error: params.yaml: lr = -1: must be greater than 0\n", printed)
    assert "error: 1 of 3 experiments failed\n" in printed
    assert "figures/sweep.png: " in printed  # of the two that ran

    printed = another.make("sweep", f"SWEEP={settings.replace('-1,', '')}")
    table = printed.partition("valid_cost")[2]
    rates = re.findall(r"^\S+ +\d\.\d+ .* (0\.\d) +0\.\d{4} \(", table, re.MULTILINE)
    assert rates == ["0.5", "0.2"]
    assert (another.folder / "figures/sweep.png").stat().st_size > 10_000
    assert another.run("git", "status", "--porcelain") == ""
    assert "Queued" not in another.run("dvc", "queue", "status")


TAKEN_BY_ANOTHER = """
from dvc.repo import Repo
from softmax_regression.tools import sweep
with Repo() as repo:
    entries = sweep.queue(["lr=0.3"], repo)
    for tag in entries:
        repo.experiments.celery_queue.celery.reject(tag)
    print(sweep.run(entries, 1, repo, print))
"""


def test_what_a_worker_of_the_queue_has_taken_is_left_to_it(another: Clone) -> None:
    printed = another.run("python", "-c", TAKEN_BY_ANOTHER, PYTHONPATH="src")
    assert re.fullmatch(
        r"1 of 1: \S+: a worker of DVC's queue was quicker, and runs it: dvc queue status\n\[\]\n", printed
    )


@pytest.mark.parametrize("setting", ["lr", "lr=choice(1", "lr=interval(0,1)", "lr=glob(*)", "seed=range(1,1)"])
def test_what_is_no_setting_is_refused_in_one_line(another: Clone, setting: str) -> None:
    printed = another.run("softmax", "sweep", "-S", setting, check=False)
    assert printed.startswith("error: ") and printed.count("\n") == 1, printed
    assert "Queued" not in another.run("dvc", "queue", "status")


def test_an_experiment_with_a_wrong_value_fails_in_one_line_and_leaves_the_workspace_as_it_was(another: Clone) -> None:
    printed = another.run("dvc", "exp", "run", "--temp", "-S", "lr=-1", check=False)
    assert "error: params.yaml: lr = -1: must be greater than 0" in printed
    assert "Traceback" not in printed
    assert another.run("git", "status", "--porcelain") == ""
    names = another.run("dvc", "exp", "list", "--name-only").split()
    assert sorted(names) == ["again", "faster", "sweep-1", "sweep-2", "sweep-3", "sweep-4"]
