"""Makes sums come out the same, bit for bit, on every x86-64 processor with AVX2 and whatever the number of cores."""

import os

import torch

from softmax_regression.base.errors import UserError

SETTINGS = {
    "MKL_CBWR": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    # On a GPU, what torch.use_deterministic_algorithms asks for; choose_device turns those on.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}


def fix_arithmetic() -> None:
    """Call before the first computation; what the environment already says is left as it is.

    A sum of floats depends on its order, and the fastest order depends on the machine. MKL otherwise takes longer
    vectors or more threads into account, and torch's own kernels have variants for AVX2 and AVX-512. Fixed, an epoch
    takes no longer; what changes without it is in the ninth digit of the cost (README, "The same bytes").
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    # Two threads wait for each other in every small product, all the more beside another busy process (docs/speed.md).
    torch.set_num_threads(1)


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`, held to repeatable sums; raises UserError where CUDA is missing."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("device = cuda: this machine has no usable CUDA device; set device to auto or cpu")
    if not available or name == "cpu":
        return torch.device("cpu")
    # Some of CUDA's kernels add in whatever order their threads end.
    torch.use_deterministic_algorithms(True)
    return torch.device("cuda")
