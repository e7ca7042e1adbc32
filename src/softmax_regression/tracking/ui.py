"""Opens MLflow's pages at the table of this project's runs, for `make ui`."""

import base64
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import webbrowser
import zlib
from collections.abc import Sequence
from contextlib import suppress

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from softmax_regression.base import project
from softmax_regression.base.errors import UserError, one_line
from softmax_regression.tracking import runs
from softmax_regression.tracking.journal import EXPERIMENT
from softmax_regression.tracking.store import is_remote, tracking_uri

HOST, PORT = "127.0.0.1", 5000
VIEW, FIGURES = "pipeline", ("final_valid_cost", "final_valid_accuracy", "test_accuracy")
CURVES = ("valid_cost", "train_cost", "valid_accuracy")
OF_CLASSES = [f"{name}{end}" for name in ("precision", "recall") for end in ("", "_low", "_high")]
CHARTS = "Model metrics"
"""MLflow's name for the section of all charts whose metric has no / in its name."""
ALWAYS = ("1", "attributes.`Run Name`", "runDateAndNestInfo", "duration")
"""MLflow's names for the columns that are there by themselves; the first holds the boxes to tick."""
SECTION = {"columns": 2, "cardHeight": 400}
LINE = {
    "lineSmoothness": 0,
    "scaleType": "linear",
    "xAxisKey": "step",
    "xAxisScaleType": "linear",
    "yAxisKey": "metric",
    "useGlobalXaxisKey": True,
    "useGlobalLineSmoothing": True,
}


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
            client.set_experiment_tag(experiment_id, f"mlflow.sharedViewState.{VIEW}", view(found))
    except (MlflowException, sqlite3.Error) as error:
        raise UserError(f"{uri}: {one_line(error, 200)}") from None
    # By itself the page opens in its mode for language models, and shows no figure.
    table = f"/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={VIEW}"
    if is_remote(root):
        show(uri.rstrip("/") + table)
    else:
        serve(uri, table)


def view(found: Sequence[Run]) -> str:
    """What the table and the charts show at first, as MLflow keeps a shared view.

    In the table figures and the parameters that are not all the same; as charts the curves, then all other metrics, and
    those of each class, named as precision/0, in sections that are closed.
    """
    values: dict[str, set[str]] = {"lr": set()}
    for run in found:
        for name, value in run.data.params.items():
            values.setdefault(name, set()).add(value)
    varying = [name for name, different in values.items() if name == "lr" or len(different) > 1]
    figures = [f"metrics.`{name}`" for name in FIGURES]
    columns = [*figures, *(f"params.`{name}`" for name in varying)]
    state = {
        "orderByKey": "attributes.start_time",
        "startTime": "ALL",
        "selectedColumns": columns,
        "columnOrder": [*ALWAYS, *columns],
        "columnWidths": dict.fromkeys(figures, 150),  # pixels: without it their names are cut
        "compareRunSections": [
            {"uuid": name, "name": name, "display": name == CHARTS, "isReordered": True} | SECTION
            for name in (CHARTS, *OF_CLASSES)
        ],
        "compareRunCharts": [
            {"type": "LINE", "uuid": name, "metricKey": name, "metricSectionId": CHARTS, "isGenerated": True} | LINE
            for name in CURVES
        ],
        "isAccordionReordered": True,  # or the sections would be sorted by their names
    }
    return f"deflate;{base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()}"


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
