"""Where the project is."""

import os
from pathlib import Path


def root() -> Path:
    """The main checkout, absolute.

    DVC names it in DVC_ROOT, also to a stage that runs in a copy under .dvc/tmp/exps, as `dvc exp run --temp` and
    queue workers do. Else it is the nearest folder upwards that DVC was set up in, or the current one.
    """
    here = Path.cwd()
    above = (folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir())
    return Path(os.environ.get("DVC_ROOT") or next(above, here)).resolve()
