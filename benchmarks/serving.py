"""Requests a second to `softmax serve` and to `mlflow models serve`, in turns, by wrk: docs/serving.md."""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tables import fill

from softmax_regression.data.images import ImageSet

ROOT = Path(__file__).parents[1]
CHAMPION = "models:/softmax-regression@champion"
CONNECTIONS, SECONDS, TURNS = 32, 5, 3
OURS, MLFLOW = 8300, 8400
"""Ports; the second process count has the next one."""


@dataclass
class Server:
    """What is measured, and by turn what came out.

    Seconds to the first answer, requests a second, and latencies at 50 and 99 % in milliseconds.
    """

    name: str
    command: Sequence[str]
    port: int
    path: str
    body: str
    turns: list[tuple[float, float, float, float]] = field(default_factory=list)


def main() -> None:
    """Measure, and write the table into the page."""
    image = ImageSet.load(ROOT / "data/test.safetensors").images[0].tolist()
    ours, theirs = json.dumps({"images": [image]}), json.dumps({"inputs": [image]})
    serve = ("softmax", "serve", "--port")
    mlflow = ("mlflow", "models", "serve", "--env-manager", "local", "--model-uri", CHAMPION, "--port")
    servers = [
        Server("`softmax serve`", (*serve, str(OURS)), OURS, "/predict", ours),
        Server(
            "`softmax serve --processes 1`", (*serve, str(OURS + 1), "--processes", "1"), OURS + 1, "/predict", ours
        ),
        Server("`mlflow models serve`", (*mlflow, str(MLFLOW)), MLFLOW, "/invocations", theirs),
        Server(
            "`mlflow models serve --workers 2`",
            (*mlflow, str(MLFLOW + 1), "--workers", "2"),
            MLFLOW + 1,
            "/invocations",
            theirs,
        ),
    ]
    for _ in range(TURNS):
        for server in servers:  # one at a time: the others' idle processes take time too
            with running(server) as start:
                server.turns.append((start, *load(server)))
            print(server.name, *server.turns[-1], flush=True)
    reference = statistics.median(turn[1] for turn in servers[2].turns)
    fill(
        ROOT / "docs/serving.md",
        ("", "ready after", "requests a second", "beside MLflow's", "latency, 50 %", "99 %"),
        (row(server, reference) for server in servers),
    )


def row(server: Server, reference: float) -> list[str]:
    """The medians of the turns."""
    start, requests, half, most = (statistics.median(values) for values in zip(*server.turns, strict=True))
    return [
        server.name,
        f"{start:.1f} s",
        f"{requests:,.0f}",
        f"{requests / reference:.1f}×",
        f"{half:.1f} ms",
        f"{most:.1f} ms",
    ]


@contextmanager
def running(server: Server) -> Iterator[float]:
    """Start a server, wait until it answers, and tell how many seconds that took."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MLFLOW_TRACKING_URI": f"sqlite:///{ROOT}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    started = time.perf_counter()
    process = subprocess.Popen(
        server.command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while True:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health"):
                break
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(server.command)} has ended: is the model registered? make run")
            time.sleep(0.02)
        yield time.perf_counter() - started
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def load(server: Server) -> tuple[float, float, float]:
    """Requests a second and latencies at 50 and 99 % in milliseconds, after a second that does not count."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write('wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n')
        script.write(f"wrk.body = '{server.body}'\n")
        script.flush()
        for seconds in (1, SECONDS):
            address = f"http://127.0.0.1:{server.port}{server.path}"
            command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", script.name, address]
            said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    if "Non-2xx" in said:
        raise RuntimeError(f"{server.name} refuses: {said}")
    half, most = (milliseconds(*re.findall(rf"{share}%\s+([\d.]+)(\w+)", said)[0]) for share in (50, 99))
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0]), half, most


def milliseconds(number: str, unit: str) -> float:
    """Wrk's times."""
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


if __name__ == "__main__":
    main()
