"""Several processes on this machine, and two hosts: network namespaces that a cable joins."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from clone import ROOT, Clone
from mlflow import MlflowClient
from mlflow.entities import Run

from softmax_regression.data.images import ImageSet
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.training.loop import train
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.share import ALONE, Share
from softmax_regression.training.state import TrainingState
from softmax_regression.training.workers import FRESH_ADDRESSES, PATIENCE

BATCH_SIZES = [1, 10, 64, 103, 10**9]
TRAIN = f"""
import json, sys
from pathlib import Path
import torch
sys.path[:0] = [{str(ROOT / "tests")!r}, {str(ROOT / "tests/training")!r}]
from softmax_regression.training import workers
from test_workers import BATCH_SIZES, trained
if not workers.started_by_torchrun():
    workers.launch(int(sys.argv[1]), Path(__file__))
else:
    with workers.join(torch.device("cpu"), {{count}}) as share:
        found = [trained(*case, share) for case in {{cases}}]
        if share.rank == 0:
            Path(__file__).with_name("found.json").write_text(json.dumps(found))
"""
CASES = [(implementation, size) for implementation in ("scratch", "builtin") for size in BATCH_SIZES]


def trained(implementation: str, batch_size: int, share: Share = ALONE) -> tuple[list[list[float]], str]:
    """The costs of three epochs on made-up images, and the weights."""
    torch.set_num_threads(1)
    numbers = np.random.default_rng(0)
    images, labels = numbers.integers(0, 256, (120, 5, 5), dtype=np.uint8), numbers.integers(0, 4, 120)
    training, validation = ImageSet(images, labels, tuple("abcd"), "made-up", {}).hold_out(0.14)
    generator = torch.Generator().manual_seed(0)
    recipe = Recipe(implementation, 0.5, "cosine", 3, batch_size, 0.9, 0.01)
    model = SoftmaxRegression.random((4, 25), 0.01, generator).to(recipe.dtype)
    epochs = train(TrainingState.start(model, generator), training, validation, recipe, share)
    return [list(vars(record).values()) for record in epochs], model.weight.numpy().tobytes().hex()


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_costs_are_those_of_one_worker_and_the_bytes_repeat(count: int, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(TRAIN.format(cases=[*CASES, *CASES], count=count))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(temporary)}
    subprocess.run([sys.executable, str(script), str(count)], env=environment, check=True)
    assert not list(temporary.glob("torchelastic_*"))
    found = json.loads((tmp_path / "found.json").read_text())
    for case, (records, weights), again in zip(CASES, found, found[len(CASES) :], strict=False):
        expected, expected_weights = trained(*case)
        np.testing.assert_allclose(records, expected, atol=1e-5, err_msg=str(case))
        assert [records, weights] == again
        assert case[0] == "builtin" or (records, weights) == (expected, expected_weights)


@pytest.mark.slow
def test_the_others_do_not_wait_for_the_first_worker_at_the_end(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("""
import time
from datetime import timedelta
from pathlib import Path
import torch
from softmax_regression.training import workers
workers.PATIENCE = timedelta(seconds=2)
if not workers.started_by_torchrun():
    workers.launch(2, Path(__file__))
else:
    with workers.join(torch.device("cpu"), 2) as share:
        share.broadcast([torch.zeros(1)])
        time.sleep(0 if share.rank else 6)
""")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("has lost the others")) == (0, 0), done.stderr


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone with the digits downloaded and nothing trained, to be copied."""
    clone = Clone(tmp_path_factory.mktemp("digits") / "clone")
    clone.set_parameters(dataset="digits", epochs=1500, batch_size=256, workers=2)
    clone.run("dvc", "repro", "features")
    return clone


@pytest.fixture(scope="module")
def undisturbed(digits: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The same, trained by two workers that nothing disturbed."""
    clone = digits.copy(tmp_path_factory.mktemp("undisturbed") / "clone")
    assert start(clone).wait() == 0, said(clone)
    return clone


def start(clone: Clone, *launcher: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start the train stage, alone or by a launcher, its words going into a file."""
    return subprocess.Popen(
        [*(launcher or [sys.executable]), "stages/train.py"],
        cwd=clone.folder,
        env={**clone.environment, "PYTHONPATH": "src", **environment},
        stdout=(clone.folder / "said").open("w"),
        stderr=subprocess.STDOUT,
    )


def said(clone: Clone) -> str:
    return (clone.folder / "said").read_text()


def wait_until(true: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def has_checkpoint(clone: Clone) -> bool:
    return bool(list(clone.folder.glob(".checkpoints/*.safetensors")))


def results(clone: Clone) -> list[bytes]:
    names = ("models/softmax.safetensors", "metrics/costs.csv")
    return [(clone.folder / name).read_bytes() for name in names]


def runs(clone: Clone) -> list[Run]:
    client = MlflowClient(f"sqlite:///{clone.folder / 'mlflow.db'}")
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


@pytest.mark.slow
def test_a_worker_that_is_killed_starts_again_with_the_others_and_changes_nothing(
    digits: Clone, undisturbed: Clone, tmp_path: Path
) -> None:
    clone = digits.copy(tmp_path / "clone")
    stage = start(clone)
    wait_until(lambda: has_checkpoint(clone))
    psutil.Process(stage.pid).children()[-1].kill()
    assert stage.wait() == 0, said(clone)
    assert "going on after epoch" in said(clone)
    assert results(clone) == results(undisturbed)
    assert not has_checkpoint(clone)
    clone.run(sys.executable, "-m", "softmax_regression.tools.command", "track", PYTHONPATH="src")
    assert sorted(run.info.status for run in runs(clone)) in (["FAILED", "FINISHED"], ["FINISHED", "KILLED"])


@pytest.mark.slow
def test_the_workers_of_a_stage_that_is_killed_end_by_themselves(digits: Clone, tmp_path: Path) -> None:
    clone = digits.copy(tmp_path / "clone")
    stage = start(clone)
    wait_until(lambda: has_checkpoint(clone))
    workers = psutil.Process(stage.pid).children()
    stage.kill()
    stage.wait()
    wait_until(lambda: not any(worker.is_running() for worker in workers), 10)


@pytest.mark.slow
def test_a_mistake_is_told_once_and_not_tried_again(digits: Clone, tmp_path: Path) -> None:
    clone = digits.copy(tmp_path / "clone")
    clone.set_parameters(init_std=1_000_000, lr=1_000_000, weight_decay=1_000_000)
    assert start(clone).wait() == 2
    assert said(clone).strip().splitlines()[-1].startswith("error: epoch 0: the cost is no longer finite with lr = ")
    assert said(clone).count("no longer finite") == 1
    assert [run.info.status for run in runs(clone)] == ["FAILED"]


@pytest.mark.slow
def test_torchrun_with_another_number_of_workers_is_refused(digits: Clone, tmp_path: Path) -> None:
    clone = digits.copy(tmp_path / "clone")
    clone.set_parameters(workers=3)
    assert start(clone, "torchrun", "--standalone", "--nproc-per-node=2").wait() != 0
    assert "error: params.yaml: workers = 3, but torchrun started 2 in all; set it to 2" in said(clone)
    assert not (clone.folder / "models/softmax.safetensors").exists()


@pytest.fixture
def hosts(digits: Clone, tmp_path: Path) -> Iterator[dict[str, Clone]]:
    """Two hosts by the names of their network namespaces, each with a clone, and a cable between them."""
    names = [f"host-{os.getpid()}-{number}" for number in (1, 2)]
    if os.geteuid() or subprocess.run(["ip", "netns", "add", names[0]], check=False).returncode:
        if os.environ.get("CI"):
            pytest.fail("needs the right to make network namespaces, and ip: apt-get install iproute2")
        pytest.skip("needs the right to make network namespaces, and ip: apt-get install iproute2")
    commands = [
        f"ip netns add {names[1]}",
        f"ip link add cable netns {names[0]} type veth peer name cable netns {names[1]}",
        *(f"ip -n {name} addr add 10.77.0.{number}/24 dev cable" for number, name in enumerate(names, start=1)),
        *(f"ip -n {name} link set {device} up" for name in names for device in ("lo", "cable")),
    ]
    for command in commands:
        subprocess.run(command.split(), check=True)
    yield {name: digits.copy(tmp_path / name / "clone") for name in names}
    for name in names:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def start_on(hosts: dict[str, Clone]) -> list[subprocess.Popen[bytes]]:
    """What docs/workers.md says to type on each host."""
    seconds = PATIENCE.seconds
    return [
        start(
            clone,
            *("ip", "netns", "exec", name, "torchrun", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=3"),
            *("--rdzv-backend=c10d", "--rdzv-endpoint=10.77.0.1:29400", f"--local-addr=10.77.0.{number}"),
            # Both have this machine's host name, by which torchrun would tell which of them is the first.
            f"--rdzv-conf=join_timeout={seconds},read_timeout={seconds},is_host={number == 1}",
            **FRESH_ADDRESSES,
            GLOO_SOCKET_IFNAME="cable",
        )
        for number, (name, clone) in enumerate(hosts.items(), start=1)
    ]


@pytest.mark.slow
def test_two_hosts_give_the_bytes_of_two_workers_and_the_first_has_them(
    hosts: dict[str, Clone], undisturbed: Clone
) -> None:
    ended = [process.wait() for process in start_on(hosts)]
    first, second = hosts.values()
    assert ended == [0, 0], said(first) + said(second)
    assert results(first) == results(undisturbed)
    assert not (second.folder / "models/softmax.safetensors").exists()
    assert not (second.folder / "mlflow.db").exists()


@pytest.mark.slow
def test_a_worker_that_is_killed_on_one_host_starts_again_with_that_of_the_other(
    hosts: dict[str, Clone], undisturbed: Clone
) -> None:
    processes = start_on(hosts)
    first, second = hosts.values()
    wait_until(lambda: has_checkpoint(first))
    psutil.Process(processes[1].pid).children()[0].kill()
    ended = [process.wait() for process in processes]
    assert ended == [0, 0], said(first) + said(second)
    assert "going on after epoch" in said(first)
    assert results(first) == results(undisturbed)


@pytest.mark.slow
def test_hosts_whose_cable_is_cut_end_in_time_and_go_on_later(hosts: dict[str, Clone], undisturbed: Clone) -> None:
    processes = start_on(hosts)
    first, second = hosts.values()
    wait_until(lambda: has_checkpoint(first))
    name = list(hosts)[1]
    subprocess.run(["ip", "-n", name, "link", "set", "cable", "down"], check=True)
    for process, clone in zip(processes, hosts.values(), strict=True):
        assert process.wait(timeout=2 * PATIENCE.seconds) != 0
        assert said(clone).strip().splitlines()[-1].partition(": ")[2].startswith("has lost the others (")
    assert not (first.folder / "models/softmax.safetensors").exists()

    subprocess.run(["ip", "-n", name, "link", "set", "cable", "up"], check=True)
    ended = [process.wait() for process in start_on(hosts)]
    assert ended == [0, 0], said(first) + said(second)
    assert "going on after epoch" in said(first)
    assert results(first) == results(undisturbed)
