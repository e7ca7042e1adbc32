"""Which run an event is recorded in, and what stands there then."""

import json
import shutil
from pathlib import Path

import pytest
from events import Project
from mlflow import MlflowClient

from softmax_regression.tracking import runs
from softmax_regression.tracking.event import memory
from softmax_regression.tracking.runs import find_run, record


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MlflowClient]:
    """A project's root and a client of the store there."""
    root = tmp_path_factory.mktemp("project")
    return root, runs.connect(root)


@pytest.fixture
def project(
    store: tuple[Path, MlflowClient], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Project:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = Project(*store, request.node.name)
    shutil.rmtree(project.root / ".journal", ignore_errors=True)
    return project


def test_later_stages_add_to_the_run_that_trained_their_model(project: Project) -> None:
    trained = project.record(project.event("train"))
    project.record(project.event("train", model="another"))
    evaluated = project.record(project.event("evaluate", metrics=[("test_accuracy", 0.9, 1_700_000_000_000, 0)]))

    assert evaluated.info.run_id == trained.info.run_id
    assert evaluated.data.metrics == {"test_accuracy": 0.9}
    assert len(project.runs()) == 2


def test_of_several_runs_with_the_model_the_one_of_the_same_experiment_is_taken_then_the_newest(
    project: Project,
) -> None:
    first = project.record(project.event("train", dvc_experiment="first"))
    second = project.record(project.event("train", dvc_experiment="second"))

    def taken(dvc_experiment: str | None) -> str:
        event = project.event("evaluate", dvc_experiment=dvc_experiment)
        run = find_run(project.client, first.info.experiment_id, event)
        assert run is not None
        return str(run.info.run_id)

    assert taken("first") == first.info.run_id
    assert taken("second") == second.info.run_id
    assert taken("third") == taken(None) == second.info.run_id


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_runs_go_along_with_a_project_that_is_moved_or_copied(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def record_with_file(root: Path, name: str) -> Project:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # which MLflow sets, as for one project a process
        root.mkdir(exist_ok=True)
        project = Project(root, runs.connect(root), "moving")
        project.count = len(name)
        event = project.event("train", model=name)
        (event.folder / "artifacts").mkdir()
        (event.folder / "artifacts/file").write_text(name)
        project.record(event)
        return project

    (tmp_path / "elsewhere/mlartifacts").mkdir(parents=True)  # a place of its own, and one of the same length
    others = [
        "s3://bucket/mlartifacts",
        f"file://{tmp_path}/elsewhere/mlartifacts",
        f"file://{tmp_path}/oxd%201/mlartifactsX",
    ]

    before = record_with_file(tmp_path / "o_d 1", "before")
    for number, place in enumerate(others):
        before.client.create_experiment(f"other-{number}", place)
    (shutil.copytree if how == "copied" else shutil.move)(str(tmp_path / "o_d 1"), str(tmp_path / "new"))
    project = record_with_file(tmp_path / "new", "afterwards")
    for run in project.runs():
        assert run.info.artifact_uri.startswith(f"{(tmp_path / 'new').as_uri()}/")
        path = project.client.download_artifacts(run.info.run_id, "file")
        assert Path(path).read_text() == run.data.tags["model.sha256"]
    assert len(project.runs()) == 2
    found = project.client.search_experiments(filter_string="name LIKE 'other-%'", order_by=["name ASC"])
    assert [experiment.artifact_location for experiment in found] == others
    if how == "copied":
        assert len(list((tmp_path / "o_d 1").glob("mlartifacts/*/artifacts/file"))) == 1


def test_a_model_no_run_knows_gets_a_run_marked_as_restored_and_only_one(project: Project) -> None:
    restored = project.record(project.event("evaluate", model="pulled"))
    assert restored.data.tags["restored"] == "true"
    assert project.record(project.event("visualize", model="pulled")).info.run_id == restored.info.run_id


def test_a_model_trained_again_takes_over_what_is_known_of_it_as_dvc_does_not_evaluate_it_again(
    project: Project,
) -> None:
    project.record(project.event("train", metrics=[("train_cost", 0.5, 1_700_000_000_000, 0)]))
    evaluated = project.event("evaluate", metrics=[("test_accuracy", 0.9, 1_700_000_000_000, 0)])
    visualized = project.event("visualize")
    (visualized.folder / "artifacts/figures").mkdir(parents=True)
    (visualized.folder / "artifacts/figures/a.png").write_bytes(b"png")
    first = [project.record(event) for event in (evaluated, visualized)][-1]

    again = project.event("train", metrics=[("train_cost", 0.5, 1_700_000_009_000, 0)])
    second = [project.record(again) for _ in range(2)][-1]
    assert second.info.run_id != first.info.run_id
    assert second.data.metrics == {"train_cost": 0.5, "test_accuracy": 0.9}
    assert second.data.tags["evaluated.in"] == first.info.run_id
    assert second.info.status == "FINISHED"
    assert [file.path for file in project.client.list_artifacts(second.info.run_id, "figures")] == ["figures/a.png"]
    assert len(project.client.get_metric_history(second.info.run_id, "test_accuracy")) == 1
    taken = find_run(project.client, first.info.experiment_id, project.event("evaluate"))
    assert taken is not None and taken.info.run_id == second.info.run_id


def test_a_later_stage_that_failed_without_a_model_leaves_no_run(project: Project) -> None:
    project.record(project.event("train"))
    assert record(project.client, project.event("evaluate", model=None, status="FAILED"), project.root) == "none"
    assert len(project.runs()) == 1


def test_recording_twice_changes_nothing(project: Project) -> None:
    event = project.event(
        "train",
        parameters={"lr": 0.1},
        metrics=[("cost", float(step), 1_700_000_000_000 + step, step) for step in range(2500)],
        inputs=[{"name": "digits", "digest": "d" * 32, "source": json.dumps({"url": "u"}), "context": "training"}],
    )
    (event.folder / "artifacts").mkdir()
    (event.folder / "artifacts/params.yaml").write_text("lr: 0.1\n")
    once = project.record(event)
    memory(event.folder, "metrics").unlink()  # as if the recorder had died before it could note how far it was
    twice = project.record(event)

    assert once.info.run_id == twice.info.run_id
    assert once.to_dictionary()["data"] == twice.to_dictionary()["data"]
    assert twice.inputs is not None
    assert len(twice.inputs.dataset_inputs) == 1
    history = project.client.get_metric_history(twice.info.run_id, "cost")
    assert [metric.value for metric in history] == [float(step) for step in range(2500)]


def test_lineage_names_the_data_by_its_hash_and_its_source(project: Project) -> None:
    source = json.dumps({"url": "https://example.org/a.gz", "files": {"https://example.org/a.gz": "sha256:1"}})
    run = project.record(
        project.event("train", inputs=[{"name": "mnist", "digest": "d" * 32, "source": source, "context": "training"}])
    )
    assert run.inputs is not None
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest, given.dataset.source) == ("mnist", "d" * 32, source)
    assert [(tag.key, tag.value) for tag in given.tags] == [("mlflow.data.context", "training")]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ({"train": "FINISHED", "evaluate": "FAILED"}, "FAILED"),
        ({"train": "FINISHED", "evaluate": "KILLED"}, "KILLED"),
        ({"train": "FINISHED", "evaluate": "FINISHED"}, "FINISHED"),
        ({"train": "RUNNING"}, "RUNNING"),
    ],
)
def test_a_run_is_as_well_as_the_worst_of_its_stages(project: Project, statuses: dict[str, str], expected: str) -> None:
    for stage, status in statuses.items():
        run = project.record(project.event(stage, status=status))
    assert run.info.status == expected


def test_a_stage_that_succeeds_at_the_second_try_heals_its_run(project: Project) -> None:
    project.record(project.event("train"))
    assert project.record(project.event("evaluate", status="FAILED")).info.status == "FAILED"
    healed = project.record(project.event("evaluate"))
    assert (healed.info.status, len(project.runs())) == ("FINISHED", 1)


def test_a_run_that_somebody_deleted_stays_deleted(project: Project) -> None:
    event = project.event("train")
    project.client.delete_run(project.record(event).info.run_id)
    assert record(project.client, event, project.root) == "none"
    assert project.runs() == []


def test_artifacts_go_beside_the_database_whatever_the_current_directory(project: Project) -> None:
    event = project.event("train")
    (event.folder / "artifacts/figures").mkdir(parents=True)
    (event.folder / "artifacts/figures/a.png").write_bytes(b"png")
    run = project.record(event)
    assert (project.root / "mlartifacts" / run.info.run_id / "artifacts/figures/a.png").read_bytes() == b"png"
