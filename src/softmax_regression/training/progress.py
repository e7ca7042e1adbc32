"""How far the training is: a bar on a terminal, plain lines in a log."""

import math
import sys
from collections.abc import Iterator

from tqdm import tqdm

from softmax_regression.training.record import EpochRecord


def show(epochs: Iterator[EpochRecord], total: int) -> Iterator[EpochRecord]:
    """Pass the records on; in a log, print about twenty of them, the last one included."""
    on_terminal = sys.stderr.isatty()
    every = math.ceil(total / 20)
    # With tqdm's own format, the figures would not fit into 80 columns.
    form = "epoch {n_fmt}/{total_fmt} {bar} {remaining}{postfix}"
    bar = tqdm(epochs, total=total, bar_format=form, disable=not on_terminal)
    for record in bar:
        line = f"cost {record.train_cost:.4f}, validation {record.valid_cost:.4f}, accuracy {record.valid_accuracy:.4f}"
        if on_terminal:
            bar.set_postfix_str(line)
        elif record.epoch % every == 0 or record.epoch == total - 1:
            print(f"epoch {record.epoch}: {line}", flush=True)
        yield record
