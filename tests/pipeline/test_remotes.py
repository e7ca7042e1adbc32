"""Push, clone elsewhere, pull: over a directory, S3 and SSH, each served for real."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clone import Clone, stages_run
from remotes import Remote, S3Server, ssh_server

MODEL = "models/softmax.safetensors"


@pytest.fixture(
    scope="module", params=["directory", *(pytest.param(name, marks=pytest.mark.slow) for name in ("s3", "ssh"))]
)
def remote(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    if request.param == "ssh":
        with ssh_server(tmp_path_factory.mktemp("sshd")) as server:
            yield server
    elif request.param == "s3":
        s3 = S3Server()
        yield s3.remote
        s3.stop()
    else:
        yield Remote()


@pytest.fixture(scope="module")
def pushed(remote: Remote, trained: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone that has pushed its results and its run cache."""
    clone = trained.copy(tmp_path_factory.mktemp("pushed") / "clone")
    remote.use(clone)
    clone.make("push")
    return clone


@pytest.fixture
def elsewhere(pushed: Clone, remote: Remote) -> Iterator[Clone]:
    """A clone of it with an empty cache, beside it, since that is where the default remote is looked for."""
    clone = Clone(pushed.folder.with_name("elsewhere"), origin=pushed.folder)
    clone.environment |= remote.environment
    yield clone
    clone.folder.rename(clone.folder.with_name(f"done-{clone.folder.stat().st_ino}"))


def outputs(clone: Clone) -> dict[str, bytes]:
    """All files that dvc.lock lists, but for those that git holds."""
    stages = yaml.safe_load((clone.folder / "dvc.lock").read_text())["stages"].values()
    return {out["path"]: (clone.folder / out["path"]).read_bytes() for stage in stages for out in stage["outs"]}


def test_a_pulled_clone_has_the_same_outputs_and_nothing_left_to_do(pushed: Clone, elsewhere: Clone) -> None:
    assert "15 files fetched" in elsewhere.run("dvc", "pull")
    assert outputs(elsewhere) == outputs(pushed)
    assert elsewhere.run("dvc", "status", "dvc.yaml") == "Data and pipelines are up to date.\n"
    assert stages_run(elsewhere.run("dvc", "repro")) == []
    assert elsewhere.run("git", "status", "--porcelain") == ""


def test_an_experiment_of_another_clone_is_restored_without_computing_or_a_mirror(
    pushed: Clone, elsewhere: Clone
) -> None:
    # Back to before the digits: what was trained on them is now an old experiment.
    before = elsewhere.run("git", "rev-list", "--max-count=1", "--grep=working tree", "HEAD").strip()
    elsewhere.run("git", "checkout", before, "--", "params.yaml", "dvc.lock", "metrics")
    elsewhere.run("git", "commit", "--quiet", "--message", "MNIST")
    elsewhere.run("dvc", "fetch", "--run-cache", check=False)  # MNIST itself nobody has pushed
    nothing_listens = "http://127.0.0.1:9"
    settings = ("-S", "dataset=digits", "-S", "epochs=2")
    command = ("dvc", "exp", "run", "--pull", *settings)
    printed = elsewhere.run(*command, DATA_MIRROR="missing", HTTPS_PROXY=nothing_listens)
    assert stages_run(printed) == []
    assert printed.count("is cached - skipping run") == 5
    assert outputs(elsewhere) == outputs(pushed)
    assert not (elsewhere.folder / "mlflow.db").exists()


def test_just_the_model_is_fetched_from_the_address_of_a_clone(
    pushed: Clone, elsewhere: Clone, remote: Remote, tmp_path: Path
) -> None:
    # The default remote lies beside the clone, where DVC's temporary clone of an address does not find it.
    repository = f"file://{elsewhere.folder}" if remote.url else str(elsewhere.folder)
    elsewhere.run("dvc", "get", repository, MODEL, "--out", str(tmp_path / "model"))
    reading = (
        f"import dvc.api\nwith dvc.api.open({MODEL!r}, {repository!r}, mode='rb') as file: print(file.read().hex())"
    )
    through_python = elsewhere.run(sys.executable, "-c", reading)

    model = (pushed.folder / MODEL).read_bytes()
    assert (tmp_path / "model").read_bytes() == model
    assert bytes.fromhex(through_python.splitlines()[-1]) == model
    assert not (elsewhere.folder / ".dvc/cache/files").exists()
