"""Several processes that train one model: torch.distributed between them, torchrun to start and restart them."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, distributed

from softmax_regression.errors import MISTAKES, UserError

PATIENCE = timedelta(seconds=30)
"""How long a worker waits for the others before it takes them for lost."""
RESTARTS = 3
"""How often the workers are started again, from the last checkpoint, after one has died."""

FRESH_ADDRESSES = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""Without this, workers that are started again find the addresses of those that died, and never meet (torch 2.14)."""


@dataclass(frozen=True)
class Share:
    """One worker's part of the work. The only worker's part is the whole, and costs nothing."""

    rank: int = 0
    workers: int = 1

    def of(self, rows: Tensor) -> Tensor:
        """The rows of these that are this worker's, consecutive ones; none where there are fewer than workers."""
        return rows if self.workers == 1 else rows.tensor_split(self.workers)[self.rank]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, in place, by its sum over all workers: one exchange for all of them.

        The first worker adds up, always in the same order. all_reduce, in which each sends and receives at a time,
        took two workers 1.5 to 2 ms on two cores in the mean, as gloo's threads block each other; this 0.3 to 0.5 ms.
        """
        if self.workers > 1:
            together = torch.cat([tensor.flatten() for tensor in tensors])
            parts = [torch.empty_like(together) for _ in range(self.workers)] if self.rank == 0 else None
            with _exchange():
                distributed.gather(together, parts)
            if parts:
                torch.sum(torch.stack(parts), 0, out=together)
            with _exchange():
                distributed.broadcast(together, 0)
            for tensor, total in zip(tensors, together.split([tensor.numel() for tensor in tensors]), strict=True):
                tensor.copy_(total.view_as(tensor))

    def from_first(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, in place, by what the first worker has."""
        if self.workers > 1:
            for tensor in tensors:
                with _exchange():
                    distributed.broadcast(tensor, 0)


ALONE = Share()


class _LostError(Exception):
    """Another worker does not answer any more."""


@contextmanager
def _exchange() -> Iterator[None]:
    """Tell a lost connection, a RuntimeError too, from the other errors of torch."""
    try:
        yield
    except RuntimeError as error:
        raise _LostError(str(error).strip().partition("\n")[0]) from error


def started() -> bool:
    """Whether torchrun started this process, here or as one of several hosts."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def joined(device: torch.device, workers: int) -> Iterator[Share]:
    """The share of this process: the whole one, or what torchrun's environment says, with the others connected.

    Raises UserError where torchrun has not started `workers` of them: their number is part of the result. A process
    that has lost the others exits with 1 and one line; torchrun then starts all of them again. Where another host has
    been silent for PATIENCE, as after a cut cable, the torchrun of this one ends too.
    """
    if not started():
        yield ALONE
        return
    if (count := int(os.environ["WORLD_SIZE"])) != workers:
        raise UserError(f"params.yaml: workers = {workers}, but torchrun started {count} in all; set it to {count}")
    try:
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        with _exchange():
            distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        # Nobody waits for the first worker at the end: it may have to wait itself, for MLflow.
        yield Share(distributed.get_rank(), distributed.get_world_size())
        distributed.destroy_process_group()
    except _LostError as reason:
        print(f"worker {os.environ['RANK']}: has lost the others ({reason})", file=sys.stderr, flush=True)
        if "Timed out" in str(reason) and MISTAKES not in os.environ:
            # By itself it waits 15 min, until Linux gives up the connection, for the first host to confirm that it
            # waits no longer (torch 2.14), and heeds no other signal meanwhile.
            os.kill(os.getppid(), signal.SIGKILL)
        sys.exit(1)


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
            *(1, 1, workers),
            logs_specs=DefaultLogsSpecs(folder),  # its own folder for them it would leave behind
            run_id=Path(folder).name,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=RESTARTS,
            monitor_interval=0.1,
        )
        # The workers end when this process dies, as it ends when DVC does.
        os.environ |= {MISTAKES: str(mistakes), "STARTED_BY": str(os.getpid()), **FRESH_ADDRESSES}
        try:
            elastic_launch(config, sys.executable)(str(script))
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            died = f"the {workers} workers died {RESTARTS + 1} times, worker {rank} with exit code {failure.exitcode}"
            raise UserError(mistakes.read_text(encoding="utf-8") if mistakes.exists() else died) from None
        finally:
            del os.environ[MISTAKES]
        if mistakes.exists():
            raise UserError(mistakes.read_text(encoding="utf-8"))
