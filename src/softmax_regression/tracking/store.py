"""Where MLflow's store is, known without importing MLflow."""

import os
from pathlib import Path

from softmax_regression.base.errors import UserError

SERVERS = ("http://", "https://")
SQLITE = "sqlite:///"
DATABASES = ("postgresql", "mysql", "mssql")


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or else a database at the project's root, from where a relative path counts too.

    Raises UserError where it is not the address of a server or a database.
    """
    given = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if given.startswith(SQLITE):
        return f"{SQLITE}{root / given.removeprefix(SQLITE)}"
    if given.startswith((*SERVERS, *DATABASES)):
        return given
    instead = f"http://{given}" if given.partition(":")[2].partition("/")[0].isdigit() else f"{SQLITE}mlflow.db"
    shown = f"{given.partition('//')[0]}//…" if "@" in given else given  # without the password
    raise UserError(
        f"MLFLOW_TRACKING_URI = {shown}: must begin with {', '.join((*SERVERS, SQLITE, *DATABASES))}; write {instead}"
    )


def is_remote(root: Path) -> bool:
    """Whether the store is a server's, not a database of this machine."""
    return tracking_uri(root).startswith(SERVERS)


def own_database(root: Path) -> Path | None:
    """The store's file where it lies in the project, and is nobody else's."""
    uri = tracking_uri(root)
    path = Path(uri.removeprefix(SQLITE)).resolve()
    return path if uri.startswith(SQLITE) and path.is_relative_to(root) else None
