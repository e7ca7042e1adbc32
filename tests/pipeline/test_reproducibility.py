"""Every way to run the pipeline gives the same bytes: dvc.lock, which has the MD5 of each output, is the same file."""

from pathlib import Path

import pytest
from clone import Clone, stages_run

SETTINGS = ("-S", "dataset=digits", "-S", "epochs=2")
ALL_STAGES = ["download", "features", "train", "evaluate", "visualize"]


def lock_of_experiment(clone: Clone, name: str) -> str:
    (revision,) = clone.run("git", "for-each-ref", "--format=%(objectname)", f"refs/exps/**/{name}").split()
    return clone.run("git", "show", f"{revision}:dvc.lock")


@pytest.fixture(scope="module")
def lock(trained: Clone) -> str:
    """What `dvc exp run` in the workspace of another clone came to."""
    return (trained.folder / "dvc.lock").read_text()


@pytest.mark.slow
def test_repro_in_a_folder_elsewhere_and_once_more_by_force(lock: str, tmp_path: Path) -> None:
    clone = Clone(tmp_path / "elsewhere/äöü and spaces")
    clone.set_parameters(dataset="digits", epochs=2)
    for command in (("dvc", "repro"), ("dvc", "repro", "--force")):
        assert stages_run(clone.run(*command)) == ALL_STAGES
        assert (clone.folder / "dvc.lock").read_text() == lock


@pytest.mark.slow
def test_an_experiment_in_a_copy(lock: str, tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone")
    assert stages_run(clone.run("dvc", "exp", "run", "--temp", "--name", "copy", *SETTINGS)) == ALL_STAGES
    assert lock_of_experiment(clone, "copy") == lock


@pytest.mark.slow
def test_a_worker_of_the_queue(lock: str, tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone")
    clone.run("dvc", "exp", "run", "--queue", "--name", "queued", *SETTINGS)
    assert stages_run(clone.run("dvc", "exp", "run", "--run-all", "--jobs", "1")) == ALL_STAGES
    assert lock_of_experiment(clone, "queued") == lock
