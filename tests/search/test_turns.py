from dataclasses import replace
from pathlib import Path

import pytest
import torch
from alone import SETTING, Alone, made_up

from softmax_regression.base.files import sha256
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.search.material import Material
from softmax_regression.search.member import Member
from softmax_regression.search.turns import model_sha256, take_turn

SETTINGS = [replace(SETTING, batch_size=100, lr=lr, weight_decay=0.01) for lr in (0.1, 0.5, 1e36)]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return made_up(tmp_path_factory.mktemp("images"))


def fresh() -> list[Member]:
    return [Member(number, setting) for number, setting in enumerate(SETTINGS)]


def lengths(members: list[Member]) -> list[int]:
    return [len(member.records) for member in members]


def test_a_turn_ends_with_an_epoch_when_its_time_is_up_and_another_goes_on(material: Material, tmp_path: Path) -> None:
    path = tmp_path / "0.safetensors"
    whole = take_turn(tmp_path / "1.safetensors", fresh(), 4, material, 60)
    diverged_after = len(whole[2].records)
    for epochs in (1, 2, 3, 4):
        members = take_turn(path, fresh(), 4, material, -1)
        assert lengths(members) == [epochs, epochs, min(epochs, diverged_after)]
    assert members == whole
    assert [member.end for member in whole] == ["trained", "trained", "diverged"] and diverged_after < 3


def test_what_is_done_already_is_told_without_training(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "0.safetensors"
    done = take_turn(path, fresh(), 4, material, 60)
    monkeypatch.setattr("softmax_regression.search.turns.train", None)
    assert take_turn(path, fresh(), 4, material, 60) == done


def test_a_turn_goes_no_further_than_it_is_told_and_without_whom_it_is_told(
    material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "0.safetensors"
    members = take_turn(path, fresh(), 1, material, 60)
    assert lengths(members)[:2] == [1, 1] and members[0].end == ""
    members[0].end = "stopped"
    take_turn(path, members, 4, material, 60)
    assert [len(members[0].records), len(members[1].records)] == [1, 4]
    alone = Alone(material, monkeypatch).train(SETTINGS[1])
    assert (members[1].records, members[1].model_sha256) == alone
    assert members[0].model_sha256 == ""


def test_where_a_file_is_lost_the_stack_begins_anew(material: Material, tmp_path: Path) -> None:
    path = tmp_path / "0.safetensors"
    whole = take_turn(tmp_path / "1.safetensors", fresh(), 4, material, 60)
    members = take_turn(path, fresh(), 2, material, 60)
    members[0].end = "stopped"
    path.unlink()
    take_turn(path, members, 4, material, 60)
    assert lengths(members)[:2] == [2, 4]
    assert members[1] == whole[1]


def test_the_checksum_is_that_of_the_file_that_a_model_saves(material: Material, tmp_path: Path) -> None:
    model = SoftmaxRegression.random((3, 20), 0.5, torch.Generator(), bias_bound=1.0)
    model.save(tmp_path / "model", material.origin)
    assert model_sha256(model, material.origin) == sha256(tmp_path / "model")
