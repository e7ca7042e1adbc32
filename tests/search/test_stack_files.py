from dataclasses import replace
from pathlib import Path

import pytest
from alone import SETTING, VALIDATION, made_up

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet
from softmax_regression.search.member import Member
from softmax_regression.search.stack import Stack, train
from softmax_regression.search.stack_files import restore, write

SETTINGS = [replace(SETTING, lr=lr, weight_decay=0.01) for lr in (0.1, 0.5, 1e36)]


def fresh() -> list[Member]:
    return [Member(number, setting) for number, setting in enumerate(SETTINGS, start=5)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Stack, list[Member]]:
    """Two epochs of three members, one of whom diverges and one of whom is stopped; in a file."""
    folder = tmp_path_factory.mktemp("search")
    images = ImageSet.load(made_up(folder).data)
    members = fresh()
    stack = Stack.start([5, 6, 7], SETTINGS, images.model_shape)
    for records in train(stack, *images.hold_out(VALIDATION), 2):
        for member in members:
            if record := records.get(member.number):
                member.records.append(record)
    members[2].end, members[0].end = "diverged", "stopped"
    stack.remove([5])
    path = folder / "named" / "0.safetensors"
    write(path, stack, members)
    return path, stack, members


def test_what_was_written_is_restored(trained: tuple[Path, Stack, list[Member]]) -> None:
    path, stack, members = trained
    found = fresh()
    restored = restore(path, found)
    assert found == members and [len(member.records) for member in members][:2] == [2, 2]
    assert restored is not None
    assert (restored.numbers, restored.settings) == (stack.numbers, stack.settings) == ([6], [SETTINGS[1]])
    assert restored.state.epochs_done == 2
    assert restored.state.generator.get_state().equal(stack.state.generator.get_state())
    for name, tensor in stack.state.tensors().items():
        assert restored.state.tensors()[name].equal(tensor)


def test_who_has_been_stopped_since_stays_so(trained: tuple[Path, Stack, list[Member]]) -> None:
    found = fresh()
    found[1].end = "stopped"
    restore(trained[0], found)
    assert [member.end for member in found] == ["stopped", "stopped", "diverged"]


@pytest.mark.parametrize("records", [0, 2])
def test_a_stack_that_all_have_left_is_restored_as_such(
    records: int, trained: tuple[Path, Stack, list[Member]], tmp_path: Path
) -> None:
    path, _, members = trained
    left = [replace(member, end="diverged", records=member.records[:records]) for member in members]
    left[0] = replace(left[0], end="trained", model_sha256="abc")
    nobody = restore(path, fresh())
    assert nobody is not None
    nobody.remove([6])
    write(tmp_path / "0.safetensors", nobody, left)
    found = fresh()
    assert restore(tmp_path / "0.safetensors", found) is None
    assert found == left


@pytest.mark.parametrize("how", ["missing", "one bit", "cut short", "another name"])
def test_a_damaged_file_changes_nothing(how: str, trained: tuple[Path, Stack, list[Member]], tmp_path: Path) -> None:
    path = tmp_path / "named" / ("1.safetensors" if how == "another name" else "0.safetensors")
    path.parent.mkdir()
    content = bytearray(trained[0].read_bytes())
    if how == "one bit":
        content[-9] ^= 1
    elif how == "cut short":
        del content[len(content) // 2 :]
    if how != "missing":
        path.write_bytes(content)
    found = fresh()
    assert restore(path, found) is None and found == fresh()


def test_a_full_disk_is_told(
    trained: tuple[Path, Stack, list[Member]], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    _, stack, members = trained
    request.getfixturevalue("full_disk")
    with pytest.raises(UserError, match="cannot be written"):
        write(tmp_path / "0.safetensors", stack, [replace(member, records=member.records * 99) for member in members])
