from pathlib import Path

import pytest

from softmax_regression.base.errors import UserError
from softmax_regression.tracking.store import is_remote, own_database, tracking_uri

ROOT = Path("/somewhere/project")


@pytest.mark.parametrize(
    ("given", "uri", "remote"),
    [
        (None, "sqlite:////somewhere/project/mlflow.db", False),
        ("", "sqlite:////somewhere/project/mlflow.db", False),
        ("sqlite:///runs.db", "sqlite:////somewhere/project/runs.db", False),
        ("sqlite:////elsewhere/runs.db", "sqlite:////elsewhere/runs.db", False),
        ("postgresql+psycopg:///mlflow", "postgresql+psycopg:///mlflow", False),
        ("https://mlflow.example.org", "https://mlflow.example.org", True),
        ("http://localhost:5000", "http://localhost:5000", True),
    ],
)
def test_a_relative_address_counts_from_the_projects_root(
    given: str | None, uri: str, remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if given is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert tracking_uri(ROOT) == uri
    assert is_remote(ROOT) == remote


def test_a_database_beyond_the_projects_root_is_not_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # as in a stage: there a server's address would be a path in the project
    for given, own in ((None, True), ("sqlite:///runs.db", True), ("sqlite:///../runs.db", False), ("http://a", False)):
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        if given:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
        assert (own_database(tmp_path) is not None) == own


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgres://me:secret@host/runs")
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI = postgres://…: must begin with ") as refused:
        tracking_uri(ROOT)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "instead"),
    [
        ("localhost:5000", "http://localhost:5000"),
        ("mlflow.example.org:80/runs", "http://mlflow.example.org:80/runs"),
        ("file:./mlruns", "sqlite:///mlflow.db"),
        ("./mlruns", "sqlite:///mlflow.db"),
        ("databricks", "sqlite:///mlflow.db"),
        ("sqlite://runs.db", "sqlite:///mlflow.db"),
    ],
)
def test_what_is_no_address_is_refused_with_one_that_is(
    given: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    with pytest.raises(UserError, match=rf"^MLFLOW_TRACKING_URI = {given}: must begin with .*; write {instead}$"):
        tracking_uri(ROOT)
