"""Where the project is."""

import os
from pathlib import Path


def root() -> Path:
    """The main checkout, absolute.

    DVC names it in DVC_ROOT, also to a stage that runs in a copy under .dvc/tmp/exps, as `dvc exp run --temp` and
    queue workers do. Without DVC it is the current directory.
    """
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
