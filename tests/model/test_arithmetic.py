"""The same bytes whatever the number of cores and the length of the processor's vectors."""

import json
import subprocess
import sys

import pytest
from clone import ROOT

# As large as MNIST's batches: smaller products come out the same on every path. The costs last, to compare numbers.
TRAIN = """
import hashlib, json
import numpy, torch
from softmax_regression.model.arithmetic import fix_arithmetic
from softmax_regression.data.images import ImageSet
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.training.loop import train
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.state import TrainingState

fix_arithmetic()
numbers = numpy.random.default_rng(0)
images = numbers.integers(0, 256, (3000, 28, 28), dtype=numpy.uint8)
training, validation = ImageSet(images, numbers.integers(0, 10, 3000), tuple("0123456789"), "noise", {}).hold_out(0.1)
found = {"threads": torch.get_num_threads(), "kernels": torch.backends.cpu.get_cpu_capability()}
for implementation in ("scratch", "builtin"):
    generator = torch.Generator().manual_seed(0)
    model = SoftmaxRegression.random((10, 784), 0.01, generator)
    recipe = Recipe(implementation, 0.1, "linear", 3, 256, 0.9, 0.0001)
    costs = [record.valid_cost for record in train(TrainingState.start(model, generator), training, validation, recipe)]
    weights = hashlib.sha256(model.weight.numpy().tobytes() + model.bias.numpy().tobytes())
    found[implementation] = [weights.hexdigest(), costs]
print(json.dumps(found))
"""


def trained(**environment: str) -> dict[str, tuple[str, list[float]]]:
    """Weights' checksum and validation costs of both implementations, trained in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN], env={"PYTHONPATH": f"{ROOT}/src", **environment}, check=True, capture_output=True
    )
    found = json.loads(done.stdout)
    assert found.pop("threads") == 1
    kernels = found.pop("kernels")
    assert kernels == environment.get("ATEN_CPU_CAPABILITY", "avx2").upper()
    return {name: (weights, costs) for name, (weights, costs) in found.items()}


@pytest.fixture(scope="module")
def usual() -> dict[str, tuple[str, list[float]]]:
    return trained()


@pytest.mark.parametrize("threads", ["1", "2", "4"])
def test_any_number_of_threads_gives_the_same_bytes(usual: dict[str, object], threads: str) -> None:
    assert trained(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads) == usual


@pytest.mark.parametrize("instructions", ["AVX2", "AVX512"])
def test_longer_vectors_give_the_same_bytes(usual: dict[str, object], instructions: str) -> None:
    assert trained(MKL_ENABLE_INSTRUCTIONS=instructions) == usual


def test_a_processor_without_avx2_gives_other_bytes_and_costs_equal_to_six_digits(
    usual: dict[str, tuple[str, list[float]]],
) -> None:
    old = trained(MKL_CBWR="COMPATIBLE", MKL_ENABLE_INSTRUCTIONS="SSE4_2", ATEN_CPU_CAPABILITY="default")
    for implementation in ("scratch", "builtin"):
        assert old[implementation][0] != usual[implementation][0]
        assert old[implementation][1] == pytest.approx(usual[implementation][1], rel=1e-6)
