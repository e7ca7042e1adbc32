"""Makes sums come out the same, bit for bit, on every x86-64 processor with AVX2 and whatever the number of cores."""

import os

import torch

SETTINGS = {
    "MKL_CBWR": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    # On a GPU, what torch.use_deterministic_algorithms asks for; training.choose_device turns those on.
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
    # Two threads wait for each other in every small product. With one an epoch takes 0.05 s, also beside another busy
    # process on two cores; with two it was 0.04 s, and beside one 0.08 s, or 0.83 s on a noisier day.
    torch.set_num_threads(1)
