from pathlib import Path

import pytest

from softmax_regression.base import project


def test_dvc_names_the_root_to_a_stage_that_runs_in_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / ".dvc/tmp/exps/copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert project.root() == tmp_path.resolve()


def test_a_person_may_be_anywhere_in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs/figures").mkdir(parents=True)
    (tmp_path / ".dvc").mkdir()
    monkeypatch.chdir(tmp_path / "docs/figures")
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert project.root() == tmp_path.resolve()


def test_without_dvc_the_root_is_the_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert project.root() == tmp_path.resolve()
