"""Where the state of an interrupted training is kept: a file named by all that determines the result.

Without torch, for which a search need not wait until its processes have imported it.
"""

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Mapping
from pathlib import Path

from softmax_regression.base import files

PACKAGE = Path(__file__).parents[1]
ROOMS = ("base", "data", "model", "training")
"""The rooms whose code determines the result."""


def path_of(root: Path, settings: Mapping[str, object]) -> Path:
    """The file for a training under the project's root; `settings`, JSON values, are what its caller chooses freely."""
    sources = {
        str(file.relative_to(PACKAGE)): files.sha256(file) for room in ROOMS for file in PACKAGE.glob(f"{room}/**/*.py")
    }
    machine = _machine() if settings.get("implementation") == "builtin" else []
    key = json.dumps([settings, importlib.metadata.version("torch"), machine, sources], sort_keys=True)
    return root / ".checkpoints" / f"{hashlib.sha256(key.encode()).hexdigest()}.safetensors"


def _machine() -> list[str | None]:
    """What changes the last digits of PyTorch's own training, and none of an exact one."""
    import torch

    from softmax_regression.model import arithmetic

    outside = (*arithmetic.SETTINGS, "MKL_ENABLE_INSTRUCTIONS")
    return [torch.__version__, torch.backends.cpu.get_cpu_capability(), *(os.environ.get(name) for name in outside)]
