import shutil
from pathlib import Path

import numpy as np
import pytest
from clone import Clone

from softmax_regression.base.errors import UserError
from softmax_regression.base.files import sha256
from softmax_regression.prediction.classifier import Classifier
from softmax_regression.tools import models


def test_a_file_is_a_model_and_another_version_once_it_is_replaced(model_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "softmax.safetensors"
    shutil.copy(model_file, path)
    source = models.find(str(path))
    first = source.version()
    assert first == sha256(path)
    assert source.load().origin.dataset == "digits </script>"
    assert source.version() == first
    path.write_bytes(path.read_bytes() + b" ")
    assert source.version() != first


def test_what_is_no_model_is_refused_by_the_name_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_text("no model")
    with pytest.raises(UserError, match=r"x\.safetensors: not a safetensors file"):
        models.find(str(tmp_path / "x.safetensors")).load()
    with pytest.raises(
        UserError, match=r"none\.safetensors: No such file or directory; in a clone, dvc repro or dvc pull"
    ):
        models.find(str(tmp_path / "none.safetensors")).load()


@pytest.mark.slow
def test_the_champion_and_a_revision_are_models_as_the_projects_own_is(
    trained: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = trained.copy(tmp_path / "clone")
    clone.run("dvc", "exp", "run", "--name", "other", "-S", "lr=0.3")
    monkeypatch.chdir(clone.folder)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    own, named = models.find(None).load(), models.find("other").load()
    assert_same(own, named)
    committed = models.find("HEAD").load()
    assert not np.array_equal(committed.weight, own.weight)
    champion = models.find("models:/softmax-regression@champion-digits")
    assert champion.version() == "1"
    assert_same(champion.load(), own)
    assert_same(models.find("models:/softmax-regression/1").load(), own)
    with pytest.raises(UserError, match="models:/softmax-regression@nobody: "):
        models.find("models:/softmax-regression@nobody").load()
    with pytest.raises(UserError, match="as in models:/softmax-regression@champion or models:/softmax-regression/1"):
        models.find("models:/softmax-regression")
    clone.run("git", "tag", "v1.0")
    assert_same(models.find("v1.0").load(), committed)
    with pytest.raises(UserError, match="metrics: no file, nor a commit"):
        models.find("metrics").load()
    with pytest.raises(UserError, match="nothing: no file, nor a commit, branch, tag or experiment"):
        models.find("nothing").load()
    printed = clone.run("softmax", "predict", "--model", "HEAD", "nothing.png", check=False)
    assert printed.startswith("nothing.png: No such file or directory")


def assert_same(one: Classifier, other: Classifier) -> None:
    assert one.origin == other.origin
    np.testing.assert_array_equal(one.weight, other.weight)
