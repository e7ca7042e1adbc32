"""PyTorch's own parts are held to one order of their sums; exact ones need not be (training/test_same_bytes.py)."""

import json
import subprocess
import sys

import pytest
from clone import ROOT

# As large as MNIST's batches: smaller products come out the same on every path. The costs last, to compare numbers.
TRAIN = """
import hashlib, json
import numpy, torch
from softmax_regression.model.arithmetic import hold_to_one_order
from softmax_regression.data.images import ImageSet
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.training.loop import train
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.state import TrainingState

hold_to_one_order()
numbers = numpy.random.default_rng(0)
images = numbers.integers(0, 256, (3000, 28, 28), dtype=numpy.uint8)
training, validation = ImageSet(images, numbers.integers(0, 10, 3000), tuple("0123456789"), "noise", {}).hold_out(0.1)
found = {"threads": torch.get_num_threads(), "kernels": torch.backends.cpu.get_cpu_capability()}
generator = torch.Generator().manual_seed(0)
recipe = Recipe("builtin", 0.1, "linear", 3, 256, 0.9, 0.0001)
model = SoftmaxRegression.random((10, 784), 0.01, generator).to(recipe.dtype)
costs = [record.valid_cost for record in train(TrainingState.start(model, generator), training, validation, recipe)]
weights = hashlib.sha256(model.weight.numpy().tobytes() + model.bias.numpy().tobytes())
found["trained"] = [weights.hexdigest(), costs]
print(json.dumps(found))
"""


def trained(**environment: str) -> tuple[str, list[float]]:
    """The weights' checksum and the validation costs, trained in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN], env={"PYTHONPATH": f"{ROOT}/src", **environment}, check=True, capture_output=True
    )
    found = json.loads(done.stdout)
    assert found["threads"] == 1
    assert found["kernels"] == environment.get("ATEN_CPU_CAPABILITY", "avx2").upper()
    weights, costs = found["trained"]
    return weights, costs


@pytest.fixture(scope="module")
def usual() -> tuple[str, list[float]]:
    return trained()


@pytest.mark.parametrize("threads", ["2", "4"])
def test_any_number_of_threads_gives_the_same_bytes(usual: tuple[str, list[float]], threads: str) -> None:
    assert trained(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads) == usual


@pytest.mark.parametrize("instructions", ["AVX2", "AVX512"])
def test_longer_vectors_give_the_same_bytes(usual: tuple[str, list[float]], instructions: str) -> None:
    assert trained(MKL_ENABLE_INSTRUCTIONS=instructions) == usual


def test_a_processor_without_avx2_gives_other_bytes_and_costs_equal_to_six_digits(
    usual: tuple[str, list[float]],
) -> None:
    weights, costs = trained(MKL_CBWR="COMPATIBLE", MKL_ENABLE_INSTRUCTIONS="SSE4_2", ATEN_CPU_CAPABILITY="default")
    assert weights != usual[0]
    assert costs == pytest.approx(usual[1], rel=1e-6)
