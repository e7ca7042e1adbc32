"""Where and how torch computes: the device, the threads, and what holds its own float32 sums to one order."""

import os

import torch

from softmax_regression.base.errors import UserError

SETTINGS = {
    "MKL_CBWR": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what torch.use_deterministic_algorithms asks for
}


def set_threads() -> None:
    """Let torch, and numpy after it, compute on one thread or as many as OMP_NUM_THREADS says: no exact byte changes.

    Two threads wait for each other in every small product, all the more beside another busy process (docs/speed.md).
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def hold_to_one_order() -> None:
    """For PyTorch's own parts, whose float32 sums depend on their order: call before the first computation.

    The order depends on the instructions that MKL and torch choose for the processor, on the threads, and on a GPU on
    which ends first. Held so, a training repeats its bytes on x86-64 with AVX2. What the environment says is kept.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    torch.set_num_threads(1)
    if torch.cuda.is_available():
        torch.use_deterministic_algorithms(True)


def choose_device(name: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`; raises UserError where CUDA is missing."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("device = cuda: this machine has no usable CUDA device; set device to auto or cpu")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
