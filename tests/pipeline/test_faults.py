"""What goes wrong with caches, remotes and merges ends in a clear error or a repair, and nothing is lost."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clone import Clone, stages_run
from mlflow import MlflowClient
from remotes import S3Server

from softmax_regression.base.files import md5

MODEL = "models/softmax.safetensors"


@pytest.fixture
def clone(trained: Clone, tmp_path: Path) -> Clone:
    return trained.copy(tmp_path / "clone")


@pytest.fixture
def s3() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


def outputs(clone: Clone) -> dict[str, str]:
    """The outputs that dvc.lock lists, and their MD5."""
    stages = yaml.safe_load((clone.folder / "dvc.lock").read_text())["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}


def cached(clone: Clone, name: str) -> Path:
    """An output's file in the cache."""
    digest = outputs(clone)[name]
    return clone.folder / ".dvc/cache/files/md5" / digest[:2] / digest[2:]


def damage(path: Path) -> None:
    """Change one byte, and nothing that DVC looks at: the file stays write-protected."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


def assert_sound(clone: Clone) -> None:
    """Every output is in the workspace, and its content is what dvc.lock says."""
    assert {name: md5(clone.folder / name) for name in outputs(clone)} == outputs(clone)
    assert clone.run("dvc", "status", "dvc.yaml") == "Data and pipelines are up to date.\n"


@pytest.mark.slow
def test_a_remote_that_refuses_is_named_and_takes_everything_later(clone: Clone, s3: S3Server) -> None:
    s3.remote.use(clone)
    s3.stop()
    printed = clone.run("dvc", "push", check=False)
    assert f'ERROR: unexpected error - Could not connect to the endpoint URL: "{s3.address}' in printed
    assert "Traceback" not in printed
    assert_sound(clone)

    s3.start()
    assert clone.run("dvc", "push") == "15 files pushed\n"


@pytest.mark.slow
def test_a_remote_that_dies_in_the_middle_of_a_push_gets_the_rest_later(clone: Clone, s3: S3Server) -> None:
    s3.remote.use(clone)
    s3.uploads_left = 3
    printed = clone.run("dvc", "push", "--jobs", "1", check=False)
    assert "ERROR: failed to push data to the cloud - 12 files failed to upload" in printed
    assert "Traceback" not in printed

    s3.uploads_left = None
    s3.start()
    assert clone.run("dvc", "push") == "12 files pushed\n"
    other = Clone(clone.folder.with_name("other"), origin=clone.folder)
    other.environment |= s3.remote.environment
    other.run("dvc", "pull")
    assert_sound(other)


@pytest.mark.slow
def test_a_corrupted_object_of_a_remote_is_refused_and_can_be_replaced(clone: Clone) -> None:
    clone.run("dvc", "push")
    stored = clone.folder.with_name("softmax-regression-remote") / cached(clone, MODEL).relative_to(
        clone.folder / ".dvc/cache"
    )
    damage(stored)
    other = Clone(clone.folder.with_name("other"), origin=clone.folder)
    printed = other.run("dvc", "pull", check=False)
    assert f"ERROR: failed to pull data from the cloud - Checkout failed for following targets:\n{MODEL}" in printed
    assert not (other.folder / MODEL).exists()
    assert not cached(other, MODEL).exists()

    stored.unlink()
    assert clone.run("dvc", "push") == "1 file pushed\n"
    other.run("dvc", "pull")
    assert_sound(other)


def test_a_corrupted_file_of_the_cache_is_found_and_made_again(clone: Clone) -> None:
    damage(cached(clone, MODEL))
    (clone.folder / MODEL).unlink()
    clone.run("dvc", "checkout")
    printed = clone.make("verify").splitlines()
    assert printed[:2] == [
        f"{cached(clone, MODEL).relative_to(clone.folder)}: damaged, removed",
        f"{MODEL}: damaged, removed",
    ]
    assert len(printed) == 3

    lock = (clone.folder / "dvc.lock").read_bytes()
    assert stages_run(clone.run("dvc", "repro")) == ["train"]
    assert (clone.folder / "dvc.lock").read_bytes() == lock
    assert_sound(clone)
    assert clone.make("verify") == ""


@pytest.mark.parametrize("left", [0.0, 0.97])
def test_a_record_of_the_run_cache_that_was_cut_short_is_removed(left: float, clone: Clone) -> None:
    records = sorted((clone.folder / ".dvc/cache/runs").glob("*/*/*"))
    assert len(records) == 5 and clone.make("verify") == ""
    for record in records:
        record.write_bytes(record.read_bytes()[: int(left * record.stat().st_size)])
    # Without its records and its lock, DVC has to run every stage again; with a record cut short it ends in KeyError.
    (clone.folder / "dvc.lock").unlink()
    removed = clone.make("verify").splitlines()[:-1]
    assert sorted(removed) == [f"{path.relative_to(clone.folder)}: damaged, removed" for path in records]
    assert stages_run(clone.run("dvc", "repro")) == ["download", "features", "train", "evaluate", "visualize"]
    assert_sound(clone)


@pytest.mark.parametrize("left", [b"", b"schema: '2.0'\nsta"])
def test_lock_files_that_dvc_did_not_finish_are_removed_and_made_again(clone: Clone, left: bytes) -> None:
    lock, in_use = clone.folder / "dvc.lock", clone.folder / ".dvc/tmp/rwlock"
    whole = lock.read_bytes()
    assert whole.startswith(left)
    lock.write_bytes(left)
    (clone.folder / "search/dvc.lock").write_bytes(left)
    in_use.write_text("")
    experiments_in_use = clone.folder / ".dvc/tmp/exps/rwlock"
    experiments_in_use.parent.mkdir(exist_ok=True)
    experiments_in_use.write_text('{"refs/exps')
    printed = clone.run("dvc", "repro", check=False)
    assert "dvc.lock" in printed and stages_run(printed) == []

    removed = clone.make("verify").splitlines()[:4]
    damaged = ("dvc.lock", "search/dvc.lock", ".dvc/tmp/rwlock", ".dvc/tmp/exps/rwlock")
    assert removed == [f"{path}: damaged, removed" for path in damaged]
    assert stages_run(clone.run("dvc", "repro")) == []
    assert lock.read_bytes() == whole
    assert_sound(clone)


def test_a_conflict_in_the_lock_is_left_to_the_user(clone: Clone) -> None:
    lock = clone.folder / "dvc.lock"
    lock.write_text("<<<<<<< HEAD\n" + lock.read_text())
    conflict = lock.read_bytes()
    clone.run("python", "-m", "softmax_regression.tools.command", "verify", check=False, PYTHONPATH="src")
    assert lock.read_bytes() == conflict


def test_what_a_user_has_changed_is_not_taken_for_damaged(clone: Clone) -> None:
    damage(cached(clone, MODEL))
    (clone.folder / MODEL).write_bytes(b"mine")
    assert "models" not in clone.make("verify")
    assert (clone.folder / MODEL).read_bytes() == b"mine"


@pytest.mark.slow
def test_a_half_deleted_cache_is_fetched_again(clone: Clone) -> None:
    clone.run("dvc", "push")
    lost = [MODEL, *[name for name in outputs(clone) if name != MODEL][::2]]
    for name in lost:
        cached(clone, name).unlink()
        (clone.folder / name).unlink()
    assert f"not in cache:       {MODEL}" in clone.run("dvc", "status", "dvc.yaml")
    printed = clone.run("dvc", "checkout", check=False)
    assert "ERROR: Checkout failed for following targets:\n" in printed
    assert MODEL in printed

    clone.run("git", "restore", ".")
    clone.run("dvc", "fetch")
    clone.run("dvc", "checkout")
    assert_sound(clone)


@pytest.mark.slow
def test_a_conflict_in_the_lock_is_named_and_settled_by_repro(clone: Clone) -> None:
    for branch, changed in (("coarse", "figure_dpi=30"), ("few", "figure_mistakes=4")):
        clone.run("git", "checkout", "--quiet", "-b", branch, "main")
        clone.run("dvc", "checkout", "--quiet")
        clone.run("dvc", "exp", "run", "-S", changed)
        clone.run("git", "commit", "--quiet", "--all", "--message", branch)
    assert "CONFLICT (content): Merge conflict in dvc.lock" in clone.run("git", "merge", "coarse", check=False)
    printed = clone.run("dvc", "repro", check=False)
    assert "'./dvc.lock' is invalid (possible merge conflicts)" in printed
    assert "Traceback" not in printed
    assert stages_run(printed) == []

    clone.run("git", "checkout", "--theirs", "dvc.lock")
    assert stages_run(clone.run("dvc", "repro")) == ["visualize"]
    clone.run("git", "commit", "--quiet", "--all", "--message", "Merged")
    parameters = yaml.safe_load((clone.folder / "params.yaml").read_text())
    assert (parameters["figure_dpi"], parameters["figure_mistakes"]) == (30, 4)
    assert_sound(clone)


def test_a_cost_that_is_not_finite_ends_the_run_and_the_model_of_before_can_be_had_back(clone: Clone) -> None:
    committed = {name: (clone.folder / name).read_bytes() for name in ("dvc.lock", MODEL, "metrics/costs.csv")}
    # Each step multiplies the weights by 1 - lr · weight_decay.
    clone.set_parameters(lr=100.0, weight_decay=1000.0, epochs=1000)
    printed = clone.run("dvc", "repro", check=False)
    assert re.search(r"^error: epoch \d: the cost is no longer finite with lr = 100\.0; lower ", printed, re.MULTILINE)
    assert "ERROR: failed to reproduce 'train'" in printed
    assert "Traceback" not in printed
    assert stages_run(printed) == ["train"]
    client = MlflowClient(f"sqlite:///{clone.folder / 'mlflow.db'}")
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert (run.info.status, run.data.tags["status.train"]) == ("FAILED", "FAILED")
    assert "the cost is no longer finite" in run.data.tags["error"]

    # DVC has removed the outputs of the stage that it then ran in vain.
    assert not (clone.folder / MODEL).exists()
    clone.run("git", "checkout", "params.yaml", "metrics")
    clone.run("dvc", "checkout")
    assert {name: (clone.folder / name).read_bytes() for name in committed} == committed
    assert_sound(clone)


# A file system just large enough for what comes, which only this shell sees: that takes no administrator.
ON_A_FULL_DISK = """
mkdir disk
mount -t tmpfs -o size=$(($(du --summarize --block-size=1024 clone | cut --fields=1) + 8192))k none disk
cp --archive clone disk
cd disk/clone
head --bytes=1G /dev/zero > filler 2> /dev/null
truncate --size=-600K filler
dvc repro
echo "--- exit code $?"
rm filler
dvc repro
echo "--- exit code $?"
cp --archive . ../../recovered
"""


@pytest.mark.slow
def test_a_full_disk_stops_the_stage_with_its_reason_and_later_it_succeeds(clone: Clone) -> None:
    alone = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode and not os.environ.get("CI"):
        pytest.skip("needs a file system of its own: unshare --map-root-user --mount")
    clone.set_parameters(figure_dpi=300)
    clone.run("git", "commit", "--quiet", "--all", "--message", "Finer figures")
    printed = clone.run(*alone, "bash", "-c", f"cd ..\n{ON_A_FULL_DISK}")
    assert re.search("^error: .*: cannot be written: No space left on device$", printed, flags=re.MULTILINE)
    assert "Traceback" not in printed
    assert re.findall("exit code (.*)", printed) == ["255", "0"]
    clone.folder = clone.folder.with_name("recovered")
    assert_sound(clone)
    client = MlflowClient(f"sqlite:///{clone.folder / 'mlflow.db'}")
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert (run.info.status, run.data.tags["restored"]) == ("FINISHED", "true")
