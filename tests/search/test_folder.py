import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from alone import SETTING

from softmax_regression.base.errors import UserError
from softmax_regression.search import folder
from softmax_regression.search.folder import folder_of, weights_of
from softmax_regression.search.member import Member
from softmax_regression.search.stack import Stack
from softmax_regression.search.stack_files import write
from softmax_regression.training import checkpoint_name

SETTINGS = [replace(SETTING, lr=lr) for lr in (0.1, 0.5, 1.0)]


def test_the_folder_depends_on_all_that_determines_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        folder_of(tmp_path, SETTINGS, [1], "a", 0.1),
        folder_of(tmp_path, SETTINGS[:2], [1], "a", 0.1),
        folder_of(tmp_path, SETTINGS[::-1], [1], "a", 0.1),
        folder_of(tmp_path, SETTINGS, [], "a", 0.1),
        folder_of(tmp_path, SETTINGS, [1], "b", 0.1),
        folder_of(tmp_path, SETTINGS, [1], "a", 0.2),
    ]
    shutil.copytree(checkpoint_name.PACKAGE, tmp_path / "package")
    monkeypatch.setattr(checkpoint_name, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(folder, "ROOM", tmp_path / "package/search")
    (tmp_path / "package/search/plots.py").write_text("")
    assert folder_of(tmp_path, SETTINGS, [1], "a", 0.1) == found[0]
    for room in ("search", "training"):
        (tmp_path / "package" / room / "new.py").write_text("")
        found.append(folder_of(tmp_path, SETTINGS, [1], "a", 0.1))
    assert len(set(found)) == 8
    assert {each.parent for each in found} == {tmp_path / ".checkpoints"}


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """Of members 5, 6 and 7; the first of whom has left it; in a file."""
    stack = Stack.start([5, 6, 7], SETTINGS, (3, 20))
    stack.remove([5])
    stack.state.model.bias.copy_(torch.arange(6).reshape(2, 3))
    write(tmp_path / "0.safetensors", stack, [Member(number, SETTING) for number in (5, 6, 7)])
    return stack


def test_weights_are_read_by_number_and_their_files_are_closed(stack: Stack, tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/map_files").iterdir()))
    (weight, bias), *others = [weights_of(tmp_path, [7])[7] for _ in range(50)]
    assert (weight == stack.state.model.weight[1].numpy()).all() and weight.any()
    assert bias.tolist() == [3, 4, 5]
    assert len(list(Path("/proc/self/map_files").iterdir())) < before + len(others)


@pytest.mark.usefixtures("stack")
def test_where_weights_are_gone_it_is_told(tmp_path: Path) -> None:
    for where, wanted in ((tmp_path / "removed", [6]), (tmp_path, [5, 6])):
        with pytest.raises(UserError, match="was removed while it was needed, perhaps by another search: start again"):
            weights_of(where, wanted)
