from pathlib import Path

import pytest
from clone import ROOT

from softmax_regression.base.errors import UserError
from softmax_regression.sources import datasets
from softmax_regression.sources.datasets import Source
from softmax_regression.tools import mirrors as reachable


@pytest.fixture
def parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A params.yaml in the current directory, which is also the project's root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    path = tmp_path / "params.yaml"
    path.write_bytes((ROOT / "params.yaml").read_bytes())
    return path


def publish_at(monkeypatch: pytest.MonkeyPatch, *mirrors: str) -> None:
    files = {"first.gz": "sha256:0", "second.gz": "sha256:0"}
    monkeypatch.setattr(datasets, "public_source", lambda dataset: Source(dataset, (), mirrors, files))


def test_a_mirror_that_has_the_file_is_reachable(tmp_path: Path, server: str) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/first.gz").touch()
    assert reachable.reachable(f"{server}mirror/", "first.gz")
    assert reachable.reachable(tmp_path / "mirror", "first.gz")


def test_a_mirror_without_the_file_is_not(tmp_path: Path, server: str) -> None:
    assert not reachable.reachable(server, "first.gz")
    assert not reachable.reachable(tmp_path, "first.gz")


@pytest.mark.parametrize("mirror", ["refused", "silent"])
def test_a_mirror_that_does_not_answer_is_not(mirror: str, request: pytest.FixtureRequest) -> None:
    assert not reachable.reachable(request.getfixturevalue(mirror), "first.gz")


@pytest.mark.usefixtures("parameters")
def test_where_no_mirror_answers_none_can_be_reached(
    monkeypatch: pytest.MonkeyPatch, server: str, refused: str
) -> None:
    publish_at(monkeypatch, refused, f"{server}gone/")
    assert not reachable.can_be_reached(Path.cwd())


@pytest.mark.usefixtures("parameters")
def test_one_mirror_of_several_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: str, refused: str
) -> None:
    (tmp_path / "first.gz").touch()
    publish_at(monkeypatch, refused, server)
    assert reachable.can_be_reached(Path.cwd())


@pytest.mark.usefixtures("parameters")
def test_data_mirror_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str) -> None:
    (tmp_path / "near").mkdir()
    (tmp_path / "near/first.gz").touch()
    publish_at(monkeypatch, refused)
    monkeypatch.setenv("DATA_MIRROR", "near")
    assert reachable.can_be_reached(Path.cwd())


def test_digits_need_no_mirror(parameters: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters.write_text(parameters.read_text().replace("dataset: mnist", "dataset: digits"))
    publish_at(monkeypatch)
    assert reachable.can_be_reached(Path.cwd())


@pytest.mark.usefixtures("parameters")
def test_data_that_are_there_need_no_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_at(monkeypatch)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.safetensors").touch()
    assert reachable.can_be_reached(Path.cwd())


def test_wrong_parameters_are_no_matter_of_mirrors(parameters: Path) -> None:
    parameters.write_text("")
    with pytest.raises(UserError):
        reachable.can_be_reached(parameters.parent)
