"""A team's machines share experiments: the commands of docs/sharing.md, and two machines that do things at once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import servers
from clone import Clone, stages_run
from events import Project
from mlflow import MlflowClient
from mlflow.entities import Run
from pages import PREPARATION, commands, deviations
from remotes import CREDENTIALS, S3Server

from softmax_regression.base import files
from softmax_regression.data import weights
from softmax_regression.tracking import journal, registry

COMMANDS = commands("sharing.md")

pytestmark = [pytest.mark.slow, servers.needs_postgresql]


@dataclass(frozen=True)
class Team:
    """Each one's clone on a machine of its own, and what they have in common."""

    clones: dict[str, Clone]
    repository: Path
    s3: S3Server
    mlflow: str

    def join(self, name: str) -> Clone:
        """The clone of one more."""
        folder = self.repository.with_name(name)
        folder.mkdir()
        self.clones[name] = Clone(folder / "clone", origin=self.repository)
        self.equip(name)
        return self.clones[name]

    def equip(self, name: str) -> None:
        """Give a clone's owner what each sets in the environment, and the make that needs no setting up."""
        self.clones[name].environment |= {**CREDENTIALS, "MLFLOW_TRACKING_URI": self.mlflow}
        self.clones[name].make("--version")

    def at_once(self, alices: str, bobs: str) -> list[str]:
        """What two shell commands print that Alice and Bob start at the same time, and both end well."""
        typed = [
            subprocess.Popen(
                ["bash", "-e", "-c", PREPARATION + command],
                cwd=self.clones[name].folder,
                env=self.clones[name].environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for name, command in (("alice", alices), ("bob", bobs))
        ]
        printed = [process.communicate()[0] for process in typed]
        assert [process.returncode for process in typed] == [0, 0], printed
        return printed


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def mlflow_server(s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    environment = {**CREDENTIALS, "MLFLOW_S3_ENDPOINT_URL": s3.address}
    with servers.mlflow_server(tmp_path_factory.mktemp("server"), f"s3://{s3.bucket}/mlflow", environment) as address:
        yield address


@pytest.fixture(scope="module")
def client(mlflow_server: str) -> MlflowClient:
    return MlflowClient(mlflow_server)


@pytest.fixture(scope="module")
def team(s3: S3Server, mlflow_server: str, trained: Clone, tmp_path_factory: pytest.TempPathFactory) -> Team:
    """Alice, who has committed a result that nobody else has."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "alice").mkdir()
    alice = trained.copy(folder / "alice/clone")
    s3.remote.use(alice)
    alice.run("git", "init", "--quiet", "--bare", "--initial-branch=main", str(folder / "shared.git"))
    alice.run("git", "remote", "set-url", "origin", str(folder / "shared.git"))
    team = Team({"alice": alice}, folder / "shared.git", s3, mlflow_server)
    team.equip("alice")
    return team


@pytest.fixture(scope="module")
def printed(team: Team) -> list[str]:
    """What each command of the page printed. Each clones when the page first has them type something."""
    return [
        (team.clones.get(name) or team.join(name)).run("bash", "-c", PREPARATION + command)
        for name, command, _ in COMMANDS
    ]


@pytest.fixture(scope="module")
def runs(client: MlflowClient, printed: list[str]) -> list[Run]:
    """The one table, once all commands of the page were typed."""
    assert printed
    experiment = client.get_experiment_by_name(journal.EXPERIMENT)
    assert experiment
    return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])


def test_each_command_prints_what_the_page_says(printed: list[str]) -> None:
    wrong = deviations(COMMANDS, printed)
    assert not wrong, wrong


def test_both_machines_runs_stand_in_one_table_and_what_was_restored_adds_none(runs: list[Run]) -> None:
    assert [(run.info.run_name, run.data.params["lr"]) for run in runs] == [("steeper", "0.5"), ("steeper", "1.0")]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert all(run.data.metrics.keys() >= {"valid_cost", "test_accuracy", "recall/7"} for run in runs)


def test_a_restored_model_names_the_run_of_the_machine_that_trained_it(
    team: Team, printed: list[str], runs: list[Run]
) -> None:
    assert printed
    restored = files.sha256(team.clones["carol"].folder / "models/softmax.safetensors")
    assert [run.data.params["lr"] for run in runs if run.data.tags[registry.MODEL_TAG] == restored] == ["0.5"]


def test_the_files_of_the_runs_lie_in_s3_and_come_back_through_the_server(
    team: Team, client: MlflowClient, runs: list[Run], tmp_path: Path
) -> None:
    for run in runs:
        key = f"mlflow/{run.info.experiment_id}/{run.info.run_id}/artifacts/figures/weights.png"
        stored = team.s3.read(key)
        downloaded = client.download_artifacts(run.info.run_id, "figures/weights.png", str(tmp_path))
        assert Path(downloaded).read_bytes() == stored
    # Bob's experiment came last, and Alice has it by now.
    assert (team.clones["alice"].folder / "figures/weights.png").read_bytes() == stored


def test_two_machines_that_run_and_push_at_once_lose_nothing(team: Team, printed: list[str]) -> None:
    assert printed
    team.clones["bob"].run("git", "pull", "--quiet", "origin", "main")
    run = "dvc exp run --temp --name {name} -S figure_dpi={dpi} && dvc exp push origin {name} && make push"
    both = team.at_once(run.format(name="coarse", dpi=50), run.format(name="fine", dpi=60))
    assert [stages_run(output) for output in both] == [["visualize"], ["visualize"]]

    carol = team.clones["carol"]
    carol.run("git", "restore", ".")
    carol.run("git", "pull", "--quiet", "origin", "main")
    assert sorted(carol.run("dvc", "exp", "list", "--name-only", "origin").split()) == ["coarse", "fine"]
    carol.run("dvc", "exp", "pull", "origin")
    for name in ("coarse", "fine"):
        carol.run("dvc", "exp", "apply", name)
        assert carol.run("dvc", "status", "dvc.yaml") == "Data and pipelines are up to date.\n"
        carol.run("git", "restore", ".")

    dave = team.join("dave")
    dave.run("dvc", "fetch", "--run-cache")
    for dpi in (50, 60):
        assert stages_run(dave.run("dvc", "exp", "run", "--pull", "-S", f"figure_dpi={dpi}")) == []

    # One name for two experiments: one push succeeds, and the other's experiment stays where it is.
    team.clones["alice"].run("dvc", "exp", "rename", "coarse", "same")
    team.clones["bob"].run("dvc", "exp", "rename", "fine", "same")
    push = "dvc exp push --no-cache origin same || true"
    both = team.at_once(push, push)
    assert sorted("Pushed experiment same" in output for output in both) == [False, True], both
    for name in ("alice", "bob"):
        assert "same" in team.clones[name].run("dvc", "exp", "list", "--name-only").split()


def test_two_machines_that_register_at_once_lose_no_model_and_the_best_is_champion(
    client: MlflowClient, tmp_path: Path
) -> None:
    costs = {"alice": [0.9, 0.4, 0.3], "bob": [0.8, 0.5, 0.2]}
    machines = [Project(tmp_path / name, client, name) for name in costs]
    for machine, values in zip(machines, costs.values(), strict=True):
        for cost in values:
            model, of_images = machine.root / "softmax.safetensors", machine.root / registry.COSTS
            weights.write(model, np.full((3, 16), cost, np.float32), np.zeros(3, np.float32))
            np.save(of_images, np.linspace(cost - 0.1, cost + 0.1, 9, dtype=np.float32))
            machine.event("train", model=files.sha256(model)).write()
            event = machine.event("evaluate", model=files.sha256(model))
            event.keep(of_images)
            event.add_model(model, np.zeros((2, 4, 4), np.uint8), 3, "made-up", "9 of made-up", cost)
            event.write()

    # Of two that set a new alias in the same instant, MLflow may refuse one: the next recording makes up for it.
    for _ in range(2):
        recorders = [
            subprocess.Popen(
                [sys.executable, "-m", "softmax_regression.tools.command", "track"],
                env={**os.environ, "MLFLOW_TRACKING_URI": client.tracking_uri, "DVC_ROOT": str(machine.root)},
            )
            for machine in machines
            if journal.events(machine.root)
        ]
        for recorder in recorders:
            recorder.wait()
    assert not [machine for machine in machines if journal.events(machine.root)]
    versions = client.search_model_versions(f"tags.`{registry.HELD_OUT_TAG}` = '9 of made-up'")
    found = {float(version.tags[registry.VALID_COST_TAG]) for version in versions}
    assert found == {cost for values in costs.values() for cost in values}
    champion = client.get_model_version_by_alias(registry.MODEL_NAME, "champion-made-up")
    assert champion.tags[registry.VALID_COST_TAG] == "0.2"
