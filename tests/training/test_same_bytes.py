"""Whatever the machine and however the work is cut up, the default model is the file whose SHA-256 the README has."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import trained_hash
import yaml
from _pytest.mark import ParameterSet
from clone import ROOT

from softmax_regression.base.files import sha256
from softmax_regression.data.images import ImageSet
from softmax_regression.sources import datasets

PUBLISHED = dict(re.findall(r"^\| `?(mnist|digits)`? \| `([0-9a-f]{64})` \|$", (ROOT / "README.md").read_text(), re.M))
ANY_KERNEL = {"MKL_CBWR": "COMPATIBLE", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ATEN_CPU_CAPABILITY": "default"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digits") / "train.safetensors"
    datasets.bundled_digits()[0].save(path)
    return path


def trained(images: Path, **environment: str) -> str:
    """The SHA-256 of the model, trained in a process of its own, or several."""
    variables = {"PYTHONPATH": f"{ROOT}/src", "PATH": os.environ["PATH"], "IMAGES": str(images), **environment}
    command = [sys.executable, str(ROOT / "tests/trained_hash.py")]
    if machine := environment.get("MACHINE"):
        command = [*OTHER_NAME, "sh", "-c", 'hostname "$0" && exec "$@"', machine, *command]
    done = subprocess.run(command, env=variables, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()[-1]


def test_the_script_trains_as_params_yaml_says() -> None:
    parameters = yaml.safe_load((ROOT / "params.yaml").read_text())
    recipe = vars(trained_hash.RECIPE)
    assert recipe == {name: parameters[name] for name in recipe}
    rest = (trained_hash.VALIDATION, trained_hash.INIT_STD, trained_hash.SEED)
    assert rest == (parameters["validation"], parameters["init_std"], parameters["seed"])


def test_the_committed_model_is_the_published_one() -> None:
    outs = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]["train"]["outs"]
    (md5,) = (out["md5"] for out in outs if out["path"] == "models/softmax.safetensors")
    cached = ROOT / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
    if not cached.exists():
        pytest.skip("needs the committed model: dvc pull, or make run")
    assert sha256(cached) == PUBLISHED["mnist"]


OTHER_NAME = ["unshare", "--map-root-user", "--uts"]
unshared = pytest.mark.skipif(
    subprocess.run([*OTHER_NAME, "true"], check=False, capture_output=True).returncode != 0 and "CI" not in os.environ,
    reason=f"needs {' '.join(OTHER_NAME)}",
)


def slow(environment: dict[str, str]) -> ParameterSet:
    return pytest.param(environment, marks=pytest.mark.slow)


def name(environment: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in environment.items()) or "as it comes"


WAYS = [
    {},
    {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell"},
    {**ANY_KERNEL, "OPENBLAS_CORETYPE": "Nehalem", "LIBRARY": "torch"},
    {"OMP_NUM_THREADS": "2", "LIBRARY": "torch"},
    {"OMP_NUM_THREADS": "4", "LIBRARY": "numpy"},
    {"CHUNK": "7"},
    {"CHUNK": "100000"},
    {"STACK": "3"},
    {"EPOCH": "29"},
    {"WORKERS": "2"},
    pytest.param({"WORKERS": "2", "MACHINE": "resolves.invalid"}, marks=unshared),
    slow({"EPOCH": "1"}),
    slow({"WORKERS": "3"}),
    slow({"WORKERS": "4", "OMP_NUM_THREADS": "2"}),
    slow({"WORKERS": "3", "EPOCH": "11", "CHUNK": "10", **ANY_KERNEL}),
]
if "avx512f" in Path("/proc/cpuinfo").read_text():
    WAYS.append({"ATEN_CPU_CAPABILITY": "avx512", "MKL_ENABLE_INSTRUCTIONS": "AVX512", "LIBRARY": "numpy"})


@pytest.mark.parametrize("environment", WAYS, ids=name)
def test_the_digits_model_is_the_published_one(environment: dict[str, str], digits: Path) -> None:
    assert trained(digits, **environment) == PUBLISHED["digits"]


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Made-up images as large as MNIST's, as small products come out the same on every path; and what they give."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3000, 28, 28), dtype=np.uint8)
    path = tmp_path_factory.mktemp("noise") / "train.safetensors"
    ImageSet(images, random.integers(0, 10, 3000), tuple("0123456789"), "noise", {}).save(path)
    return path, trained(path)


@pytest.mark.parametrize(
    "environment",
    [
        {**ANY_KERNEL, "OPENBLAS_CORETYPE": "Nehalem", "LIBRARY": "numpy"},
        {**ANY_KERNEL, "LIBRARY": "torch"},
        {"OMP_NUM_THREADS": "2", "CHUNK": "100", "LIBRARY": "torch"},
        {"STACK": "16"},
        slow({"WORKERS": "3", "LIBRARY": "torch", **ANY_KERNEL}),
    ],
    ids=name,
)
def test_larger_images_give_the_same_bytes_whatever_the_way(
    environment: dict[str, str], noise: tuple[Path, str]
) -> None:
    images, expected = noise
    assert trained(images, **environment) == expected
