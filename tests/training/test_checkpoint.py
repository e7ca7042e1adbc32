"""A training that was interrupted goes on, with the bits of one that was not."""

import math
import os
import shutil
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
from clone import Clone
from mlflow import MlflowClient

from softmax_regression.base import tensor_files
from softmax_regression.data.images import ImageSet
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.training import checkpoint
from softmax_regression.training.checkpoint_name import path_of
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.record import EpochRecord
from softmax_regression.training.state import TrainingState

RECIPE = Recipe("scratch", lr=0.5, lr_schedule="linear", epochs=6, batch_size=5, momentum=0.9, weight_decay=0.01)


class Training:
    """One that can be begun, stopped and resumed."""

    def __init__(self, images: ImageSet, path: Path) -> None:
        self.images, self.path = images, path
        generator = torch.Generator().manual_seed(1)
        self.model = SoftmaxRegression.random((3, 6), 0.5, generator)
        self.state = TrainingState.start(self.model, generator)

    def run(self, epochs: int) -> list[EpochRecord]:
        return list(islice(checkpoint.train_resumably(self.path, self.state, self.images, self.images, RECIPE), epochs))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN", -1.0)
    return path_of(tmp_path, {"seed": 1})


@pytest.fixture
def whole(small: ImageSet, tmp_path: Path) -> tuple[list[EpochRecord], SoftmaxRegression]:
    training = Training(small, tmp_path / "other.safetensors")
    return training.run(6), training.model


def assert_equal(found: SoftmaxRegression, expected: SoftmaxRegression) -> None:
    assert found.weight.equal(expected.weight) and found.bias.equal(expected.bias)


@pytest.mark.parametrize("stopped_after", [1, 4, 6])
def test_a_training_goes_on_with_the_same_bits(
    stopped_after: int,
    small: ImageSet,
    path: Path,
    whole: tuple[list[EpochRecord], SoftmaxRegression],
    capsys: pytest.CaptureFixture[str],
) -> None:
    Training(small, path).run(stopped_after)
    resumed = Training(small, path)
    assert resumed.run(6) == whole[0]
    assert_equal(resumed.model, whole[1])
    assert capsys.readouterr().out == f".checkpoints: going on after epoch {stopped_after - 1}\n"


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "one bit":
        content[-9] ^= 1
    elif how == "cut short":
        del content[len(content) // 2 :]
    elif how == "empty":
        content.clear()
    else:
        tensor_files.write(path, {"weight": torch.zeros(3, 6).numpy(), "bias": torch.zeros(3).numpy()}, {})
        return
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["one bit", "cut short", "empty", "a model"])
def test_a_damaged_checkpoint_is_ignored(
    how: str, small: ImageSet, path: Path, whole: tuple[list[EpochRecord], SoftmaxRegression]
) -> None:
    Training(small, path).run(4)
    damage(path, how)
    again = Training(small, path)
    assert again.run(6) == whole[0]
    assert_equal(again.model, whole[1])


def test_the_checkpoint_of_another_training_is_ignored_under_a_wrong_name(
    small: ImageSet, path: Path, whole: tuple[list[EpochRecord], SoftmaxRegression]
) -> None:
    another = Training(small, path_of(path.parents[1], {"seed": 2}))
    another.state.generator.manual_seed(2)
    another.run(4)
    shutil.copy(another.path, path)
    assert Training(small, path).run(6) == whole[0]


def test_a_short_training_writes_none(small: ImageSet, tmp_path: Path) -> None:
    training = Training(small, path_of(tmp_path, {}))
    training.run(6)
    assert list(tmp_path.iterdir()) == []


OUTPUTS = ("models/softmax.safetensors", "metrics/costs.csv")
# The stage as it is, but for checkpoints more often: 1,000 epochs on the digits take a few seconds.
STAGE = """
from softmax_regression.training import checkpoint
checkpoint.SECONDS_BETWEEN = 0.05
import train
from softmax_regression.base.running import run
run(train.main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("implementation", ["scratch", "builtin"])
def test_1000_epochs_killed_at_900_go_on_and_end_with_the_bytes_of_an_uninterrupted_run(
    implementation: str, trained: Clone, tmp_path: Path
) -> None:
    clone = trained.copy(tmp_path / "clone")
    clone.set_parameters(epochs=1000, implementation=implementation, batch_size=500)
    environment = {**clone.environment, "PYTHONPATH": "src:stages", "DVC_ROOT": str(clone.folder)}
    command = [sys.executable, "-c", STAGE]
    subprocess.run(command, cwd=clone.folder, env=environment, check=True, capture_output=True)
    expected = {name: (clone.folder / name).read_bytes() for name in OUTPUTS}
    assert not list((clone.folder / ".checkpoints").glob("*.safetensors"))
    for name in OUTPUTS:
        (clone.folder / name).unlink()

    with subprocess.Popen(
        command, cwd=clone.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as stage:
        assert stage.stdout is not None
        while not stage.stdout.readline().startswith("epoch 900: "):
            assert stage.poll() is None
        os.kill(stage.pid, signal.SIGKILL)
    assert not any((clone.folder / name).exists() for name in OUTPUTS)
    (saved,) = (clone.folder / ".checkpoints").glob("*.safetensors")
    done = len(tensor_files.read(saved)[0]["records"])
    assert 500 < done < 1000

    resumed = subprocess.run(command, cwd=clone.folder, env=environment, check=True, capture_output=True, text=True)
    assert f".checkpoints: going on after epoch {done - 1}\n" in resumed.stdout
    assert {name: (clone.folder / name).read_bytes() for name in OUTPUTS} == expected
    assert not saved.exists()

    client = MlflowClient(f"sqlite:///{clone.folder / 'mlflow.db'}")
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    # The trained clone's store is not copied: these three alone.
    assert sorted(run.info.status for run in runs) == ["FINISHED", "FINISHED", "KILLED"]
    newest = max(runs, key=lambda run: run.info.start_time)
    costs = client.get_metric_history(newest.info.run_id, "train_cost")
    assert sorted(cost.step for cost in costs) == list(range(1000))
    assert all(math.isfinite(cost.value) for cost in costs)
