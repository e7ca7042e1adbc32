"""Lets runs move with their project: MLflow names each file from the root of the file system."""

import sqlite3
from contextlib import closing
from pathlib import Path

PLACES = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}
"""Tables and the columns in which files are named."""


def bring_along(database: Path, artifacts: Path) -> None:
    """Where a project was copied, moved or mounted elsewhere, name the files of its runs at their present place.

    `artifacts` is the folder with the files, whose name has stayed; another one of that name is where they were.
    """
    present, end = artifacts.as_uri(), f"/{artifacts.name}"
    with closing(sqlite3.connect(database)) as connection, connection:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return
        known = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        for (before,) in known:
            if before != present and before.endswith(end):
                for table, column in PLACES.items():
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR {column} LIKE ?",  # noqa: S608
                        (present, len(before) + 1, before, f"{before}/%"),
                    )
