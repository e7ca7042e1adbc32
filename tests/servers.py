"""An MLflow server with PostgreSQL, as a team has one, started for the tests on the loopback."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from remotes import free_port

POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("*/bin"))

needs_postgresql = pytest.mark.skipif(
    not POSTGRESQL and not os.environ.get("CI"), reason="needs a PostgreSQL server: apt-get install postgresql"
)


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of a throw-away PostgreSQL, reached through a socket in its own folder."""
    programs = POSTGRESQL[-1]
    # PostgreSQL does not run as root; the package brings a user of its own.
    user = "postgres" if os.geteuid() == 0 else None

    def run(*command: str | Path) -> None:
        subprocess.run(command, check=True, user=user, group=user, cwd="/", stdout=subprocess.DEVNULL)

    with tempfile.TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, user, user)
        data = Path(folder) / "data"
        run(
            programs / "initdb",
            "--pgdata",
            data,
            "--username=mlflow",
            "--auth=trust",
            "--no-locale",
            "--encoding=UTF8",
            "--no-sync",
        )
        control = (programs / "pg_ctl", "--pgdata", data, "--wait")
        options = f"-k {folder} -c listen_addresses= -c fsync=off"
        run(*control, "start", "--log", f"{folder}/log", "--options", options)
        try:
            yield f"postgresql://mlflow@/postgres?host={folder}"
        finally:
            run(*control, "stop", "--mode=immediate")


@contextmanager
def mlflow_server(folder: Path, files: str, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of an MLflow server with a PostgreSQL of its own, which keeps the files of the runs at `files`."""
    port, log = free_port(), folder / "log"
    with postgresql() as database, log.open("w") as file:
        command = [
            *("mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", database, "--artifacts-destination", files),
        ]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env={**os.environ, **quiet, **(environment or {})},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while f"running on http://127.0.0.1:{port}" not in log.read_text():
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # asked to end, it takes 5 s
            process.wait()
