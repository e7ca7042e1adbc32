import shutil
from pathlib import Path

import pytest

from softmax_regression.training import checkpoint_name
from softmax_regression.training.checkpoint_name import path_of


def test_the_name_depends_on_all_that_determines_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [path_of(tmp_path, settings) for settings in ({"lr": 0.1}, {"lr": 0.2}, {"lr": 0.1, "seed": 0})]
    monkeypatch.setattr("importlib.metadata.version", {"torch": "1.0"}.get)
    names.append(path_of(tmp_path, {"lr": 0.1}))
    for implementation, different in (("scratch", 1), ("builtin", 2)):
        settings = {"lr": 0.1, "implementation": implementation}
        on_machines = set()
        for instructions in ("AVX2", "COMPATIBLE"):
            monkeypatch.setenv("MKL_CBWR", instructions)
            on_machines.add(path_of(tmp_path, settings))
        assert len(on_machines) == different  # an exact training goes on anywhere
        names += on_machines
    assert len(set(names)) == 7
    assert {name.parent for name in names} == {tmp_path / ".checkpoints"}


@pytest.mark.parametrize("room", checkpoint_name.ROOMS)
def test_the_name_depends_on_every_file_of_the_rooms_that_compute(
    room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(checkpoint_name.PACKAGE, tmp_path / "package")
    monkeypatch.setattr(checkpoint_name, "PACKAGE", tmp_path / "package")
    names = [path_of(tmp_path, {})]
    for change in ("x = 1\n", "x = 2\n"):
        (tmp_path / "package" / room / "new.py").write_text(change)
        names.append(path_of(tmp_path, {}))
    assert len(set(names)) == 3
    (tmp_path / "package/results/figures.py").write_text("")
    assert path_of(tmp_path, {}) == names[-1]
