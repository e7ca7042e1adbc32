"""Lets runs move with their project: MLflow names each file from the root of the file system."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

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
        for (before,) in connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall():
            if (
                before != present
                and before.startswith("file://")
                and before.endswith(end)
                and _was_own(before, database)
            ):
                for table, column in PLACES.items():
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # noqa: S608
                        f" WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (present, len(before) + 1, before, len(before) + 1, f"{before}/"),
                    )


def _was_own(before: str, database: Path) -> bool:
    """Whether files at a place were beside this database: it is gone from there, or has been copied from there."""
    folder = Path(unquote(urlsplit(before).path))
    return not folder.exists() or (folder.parent / database.name).exists()
