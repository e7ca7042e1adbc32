"""One worker's share of the work, and what the workers exchange."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


class LostError(Exception):
    """Another worker does not answer any more."""


@contextmanager
def exchange() -> Iterator[None]:
    """Tell a lost connection, a RuntimeError too, from the other errors of torch."""
    try:
        yield
    except RuntimeError as error:
        raise LostError(str(error).strip().partition("\n")[0]) from error


@dataclass(frozen=True)
class Share:
    """One worker's part of the work. The only worker's part is the whole, and costs nothing."""

    rank: int = 0
    workers: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this worker reads, writes and measures for all of them."""
        return self.rank == 0

    def rows(self, rows: Tensor) -> Tensor:
        """The rows of these that are this worker's, consecutive ones; none where there are fewer than workers."""
        return rows if self.workers == 1 else rows.tensor_split(self.workers)[self.rank]

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, in place, by its sum over all workers: one exchange for all of them.

        The first worker adds up, always in the same order. all_reduce, in which each sends and receives at a time, is
        slower on shared cores, as gloo's threads block each other (docs/speed.md).
        """
        if self.workers == 1:
            return
        together = torch.cat([tensor.flatten() for tensor in tensors])
        parts = [torch.empty_like(together) for _ in range(self.workers)] if self.is_first else None
        with exchange():
            distributed.gather(together, parts)
        if parts:
            torch.sum(torch.stack(parts), 0, out=together)
        self.broadcast([together])
        for tensor, total in zip(tensors, together.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor, in place, by what the first worker has."""
        if self.workers > 1:
            for tensor in tensors:
                with exchange():
                    distributed.broadcast(tensor, 0)


ALONE = Share()
