"""Several processes that train one model: torch.distributed between them, torchrun to start and restart them."""

import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from softmax_regression.base.errors import UserError
from softmax_regression.base.running import STARTED_BY
from softmax_regression.training.share import ALONE, LostError, Share, exchange

PATIENCE = timedelta(seconds=30)
"""How long a worker waits for the others before it takes them for lost."""
RESTARTS = 3
"""How often the workers are started again, from the last checkpoint, after one has died."""
MISTAKES = "SOFTMAX_MISTAKES"
"""The environment variable with the file in which a worker tells the process that launched it of a user's mistake."""
FRESH_ADDRESSES = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""Without this, workers that are started again find the addresses of those that died, and never meet (torch 2.14)."""


def started_by_torchrun() -> bool:
    """Whether torchrun started this process, here or as one of several hosts."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def join(device: torch.device, workers: int) -> Iterator[Share]:
    """The share of this process: the whole one, or what torchrun's environment says, with the others connected.

    Raises UserError where torchrun has not started `workers` of them: their number is part of the result. A process
    that has lost the others exits with 1 and one line; torchrun then starts all of them again. Where another host has
    been silent for PATIENCE, as after a cut cable, the torchrun of this one ends too.
    """
    if not started_by_torchrun():
        yield ALONE
        return
    with _mistakes_told():
        if (count := int(os.environ["WORLD_SIZE"])) != workers:
            raise UserError(f"params.yaml: workers = {workers}, but torchrun started {count} in all; set it to {count}")
        try:
            if device.type == "cuda":
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
            backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
            with exchange():
                distributed.init_process_group(backend, timeout=PATIENCE)
            # Nobody waits for the first worker at the end: it may have to wait itself, for MLflow.
            yield Share(distributed.get_rank(), distributed.get_world_size())
            distributed.destroy_process_group()
        except LostError as reason:
            print(f"worker {os.environ['RANK']}: has lost the others ({reason})", file=sys.stderr, flush=True)
            if "Timed out" in str(reason) and MISTAKES not in os.environ:
                # By itself it waits 15 min, until Linux gives up the connection, for the first host to confirm that it
                # waits no longer (torch 2.14), and heeds no other signal meanwhile.
                os.kill(os.getppid(), signal.SIGKILL)
            sys.exit(1)


@contextmanager
def _mistakes_told() -> Iterator[None]:
    """In a launched worker, tell the launcher of a UserError, and exit with 0.

    To fail would have the worker started again, and a mistake is the same the next time.
    """
    if MISTAKES not in os.environ:
        yield
        return
    mistakes = Path(os.environ[MISTAKES])
    try:
        if not mistakes.exists():
            yield
            return
    except UserError as error:
        mistakes.write_text(str(error), encoding="utf-8")
    sys.exit(0)


def launch(workers: int, script: Path) -> None:
    """Run a script in `workers` processes on this machine and wait for them.

    A process that dies has all of them started again, RESTARTS times. Raises UserError with what a worker said that
    made a user's mistake, or where they cannot be kept alive.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    with tempfile.TemporaryDirectory() as folder:
        mistakes = Path(folder) / "mistakes"
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=workers,
            logs_specs=DefaultLogsSpecs(folder),  # its own folder for them it would leave behind
            run_id=Path(folder).name,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=RESTARTS,
            monitor_interval=0.1,
        )
        # The workers end when this process dies, as it ends when DVC does. They meet on the loopback interface: the
        # machine's own name may not resolve, or to an old address, as in containers.
        loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
        os.environ |= {MISTAKES: str(mistakes), STARTED_BY: str(os.getpid()), "GLOO_SOCKET_IFNAME": loopback}
        os.environ |= FRESH_ADDRESSES
        try:
            elastic_launch(config, sys.executable)(str(script))
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if not mistakes.exists():
                died = f"worker {rank} with exit code {failure.exitcode}"
                raise UserError(f"the {workers} workers died {RESTARTS + 1} times, {died}") from None
        finally:
            del os.environ[MISTAKES]
        if mistakes.exists():
            raise UserError(mistakes.read_text(encoding="utf-8"))
