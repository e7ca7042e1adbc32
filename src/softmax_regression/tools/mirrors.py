"""Whether any mirror of the data set in params.yaml can be reached; `make run` asks this when the pipeline failed.

Exits with 0 where one can, or where none is needed, with 1 where none can, and with 2 where params.yaml is wrong.
"""

import os
import sys
from pathlib import Path

import requests

from softmax_regression.base import project
from softmax_regression.base.running import run
from softmax_regression.data.parameters import Parameters
from softmax_regression.sources import datasets


def reachable(mirror: str | Path, name: str) -> bool:
    """Whether a mirror, an address or a directory, has the file `name`."""
    if isinstance(mirror, Path):
        return (mirror / name).is_file()
    try:
        return requests.head(mirror + name, timeout=datasets.TIMEOUT, allow_redirects=True).ok
    except requests.RequestException:
        return False


def main() -> None:
    """Ask each mirror for the first of the files."""
    dataset = Parameters.read(Path("params.yaml")).dataset
    # DVC removes the data before it downloads: where they are, it was something else that failed.
    if dataset == "digits" or Path("data/train.safetensors").exists():
        return
    source = datasets.public_source(dataset)
    places = datasets.mirrors(source, os.environ.get("DATA_MIRROR"), project.root())
    if not any(reachable(mirror, next(iter(source.files))) for mirror in places):
        sys.exit(1)


if __name__ == "__main__":
    run(main)
