"""64-bit Arm with another torch and another mathematics library, emulated: the same bytes."""

import os
import subprocess
from pathlib import Path

import pytest
from clone import ROOT
from test_same_bytes import PUBLISHED

from softmax_regression.sources import datasets

ARM = os.environ.get("SOFTMAX_ARM")


@pytest.mark.slow
@pytest.mark.skipif(not ARM, reason="needs an emulated Arm: .ci/arm FOLDER makes one, SOFTMAX_ARM=FOLDER names it")
@pytest.mark.parametrize("environment", [{}, {"OMP_NUM_THREADS": "2", "CHUNK": "100", "QEMU_CPU": "cortex-a53"}])
def test_the_digits_model_is_the_published_one(environment: dict[str, str], tmp_path: Path) -> None:
    images = tmp_path / "train.safetensors"
    datasets.bundled_digits()[0].save(images)

    def run(*command: str) -> list[str]:
        variables = {"PYTHONPATH": f"{ROOT}/src", "IMAGES": str(images), "PATH": os.environ["PATH"], **environment}
        done = subprocess.run(
            [f"{ARM}/bin/python", *command], env=variables, check=True, capture_output=True, text=True
        )
        return done.stdout.splitlines()

    told = run(
        "-c", "import platform, torch; print(platform.machine(), torch.__version__, torch.backends.mkl.is_available())"
    )
    assert told == ["aarch64 2.9.1+cpu False"]
    assert run(str(ROOT / "tests/trained_hash.py"))[-1] == PUBLISHED["digits"]
