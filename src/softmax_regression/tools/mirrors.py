"""Whether any mirror of the data set in params.yaml can be reached; `make run` asks this when the pipeline failed."""

import os
from pathlib import Path

import requests

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


def can_be_reached(root: Path) -> bool:
    """Whether a mirror has the first file of the data set in params.yaml, or whether none is needed."""
    dataset = Parameters.read(root / "params.yaml").dataset
    # DVC removes the data before it downloads: where they are, it was something else that failed.
    if dataset == "digits" or dataset not in datasets.KNOWN or (root / "data/train.safetensors").exists():
        return True
    source = datasets.public_source(dataset)
    places = datasets.mirrors(source, os.environ.get("DATA_MIRROR"), root)
    return any(reachable(mirror, next(iter(source.files))) for mirror in places)
