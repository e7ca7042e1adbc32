"""Opens MLflow's pages at the table of this project's runs, for `make ui`."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import webbrowser
from contextlib import suppress

from mlflow.exceptions import MlflowException

from softmax_regression.base import project
from softmax_regression.base.errors import UserError, one_line
from softmax_regression.tracking import runs, views
from softmax_regression.tracking.journal import EXPERIMENT
from softmax_regression.tracking.store import is_remote, tracking_uri

HOST, PORT = "127.0.0.1", 5000
VIEW = "pipeline"


def show_runs() -> None:
    """Print the table's address and open a browser there; serve it first, unless the store is a server itself."""
    root = project.root()
    uri = tracking_uri(root)
    try:
        client = runs.connect(root)
        experiment_id = runs.ensure_experiment(client, EXPERIMENT, root)
        found = client.search_runs([experiment_id], max_results=100)
        if not found:
            print("No run is recorded yet. `make run` records one, which then shows in the table.", flush=True)
        with suppress(MlflowException):  # one who may only read sees the view of another
            client.set_experiment_tag(experiment_id, views.tag(VIEW), views.of_pipeline(found))
    except (MlflowException, sqlite3.Error) as error:
        raise UserError(f"{uri}: {one_line(error, 200)}") from None
    table = f"/{views.address(experiment_id, VIEW)}"
    if is_remote(root):
        show(uri.rstrip("/") + table)
    else:
        serve(uri, table)


def show(address: str) -> None:
    """Print an address and open it in a browser, if there is one."""
    print(f"The table of runs: {address}", flush=True)
    webbrowser.open(address)


def serve(store: str, page: str) -> None:
    """Serve a store on this machine alone and show a page of it, until the server ends or Ctrl-C ends it."""
    port = free_port()
    command = ["-m", "mlflow", "server", "--host", HOST, "--port", str(port), "--backend-store-uri", store]
    server = subprocess.Popen(
        [sys.executable, *command, "--workers", "1", "--uvicorn-opts", "--log-level critical"],
        # The executor of jobs, which evaluate language models, takes seven processes and 1.7 GB.
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"},
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        while server.poll() is None and not answers(port):
            time.sleep(0.1)
        if server.poll() is None:
            show(f"http://{HOST}:{port}{page}")
        sys.exit(server.wait())
    finally:
        server.terminate()
        server.wait()


def free_port() -> int:
    """MLflow's usual port, or any other where that is taken."""
    try:
        probe = socket.create_server((HOST, PORT))
    except OSError:
        probe = socket.create_server((HOST, 0))
    with probe:
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
