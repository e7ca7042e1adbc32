"""Where MLflow's store is, known without importing MLflow."""

import os
from pathlib import Path


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or else a database at the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root / 'mlflow.db'}"


def is_remote(root: Path) -> bool:
    """Whether the store is a server's, not a database of this machine."""
    return tracking_uri(root).startswith(("http://", "https://"))
