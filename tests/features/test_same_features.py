"""Whatever the machine, made-up images have the features whose SHA-256 stands here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from clone import ROOT

PUBLISHED = "204c62cd1ed1730b7c4ea655d592fec467ff02ae4faefcf313ff45f89260c7ca"
ARM = os.environ.get("SOFTMAX_ARM")
PLAIN = {"OPENBLAS_CORETYPE": "Prescott", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"}

WAYS = [
    {},
    {"OPENBLAS_CORETYPE": "Haswell"},
    PLAIN,
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "5", "OPENBLAS_NUM_THREADS": "3"},
]


def features(python: str, environment: dict[str, str]) -> str:
    variables = {"PYTHONPATH": f"{ROOT}/src", "PATH": os.environ["PATH"], **environment}
    command = [python, str(ROOT / "tests/features_hash.py")]
    return subprocess.run(command, env=variables, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize("environment", WAYS, ids=str)
def test_the_features_are_the_published_ones(environment: dict[str, str]) -> None:
    assert features(sys.executable, environment) == PUBLISHED


@pytest.mark.slow
@pytest.mark.skipif(not ARM, reason="needs an emulated Arm: .ci/arm FOLDER makes one, SOFTMAX_ARM=FOLDER names it")
@pytest.mark.parametrize("environment", [{}, {"OMP_NUM_THREADS": "2", "QEMU_CPU": "cortex-a53"}], ids=str)
def test_the_features_are_the_published_ones_on_arm(environment: dict[str, str]) -> None:
    assert features(str(Path(f"{ARM}/bin/python")), environment) == PUBLISHED
