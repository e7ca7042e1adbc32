"""Interrupts the pipeline a hundred times and more, and counts what came of it in docs/interruptions.md."""

import argparse
import functools
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from clone import ROOT
from interrupt import FAULTS, STAGES, Pipeline, Trial, prepare, run

from softmax_regression.tools import markdown

RESULTS = ROOT / "docs/interruptions.md"


@functools.cache
def own_pipeline(folder: Path) -> Pipeline:
    """The pipeline of this process, made once."""
    return prepare(folder / str(os.getpid()))


def attempt(folder: Path, number: int, seed: int) -> Trial:
    """One trial, the same for the same number and seed but for the machine's own timing."""
    pipeline = own_pipeline(folder)
    trial = Trial(STAGES[number % len(STAGES)], FAULTS[number % len(FAULTS)])
    began = time.monotonic()
    run(pipeline, trial, random.Random(f"{seed}, {number}"))  # noqa: S311
    print(f"{number} ({time.monotonic() - began:.0f} s): {trial}", flush=True)
    return trial


def main() -> None:
    """Run the trials and write the page; exit with 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    trials: list[Trial] = []
    # Processes, since MLflow's store is one for all threads of a process.
    spawn = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(arguments.at_once, spawn) as pool:
        numbers = range(arguments.trials)
        for done in as_completed([pool.submit(attempt, Path(folder), number, arguments.seed) for number in numbers]):
            trials.append(done.result())
            # Each time, so that an interruption of this loses nothing either.
            RESULTS.write_text(report(trials, arguments.seed), encoding="utf-8")
    sys.exit(any(trial.problems for trial in trials))


def report(trials: list[Trial], seed: int) -> str:
    """The page with the counts."""
    cells = Counter((trial.fault, trial.stage) for trial in trials)
    failed = Counter(trial.fault for trial in trials if trial.problems)
    rows = [(fault, *(cells[fault, stage] for stage in STAGES), failed[fault]) for fault in FAULTS]
    rows.append(("all", *(sum(cells[fault, stage] for fault in FAULTS) for stage in STAGES), sum(failed.values())))
    outlived = max((trial.outlived for trial in trials if trial.fault == "kill -9 of dvc"), default=0.0)
    return TEMPLATE.format(
        count=len(trials),
        seed=seed,
        table=markdown.table(("", *STAGES, "failures"), rows),
        resumed=sum(trial.resumed for trial in trials),
        outlived=outlived,
        cut=sum(len(trial.cut) for trial in trials),
        repaired=sum(trial.fault != "power cut" and trial.repaired != "" for trial in trials),
        locks=sum("dvc.lock" in trial.cut for trial in trials),
        objects=sum(name.startswith(".dvc/cache/files") for trial in trials for name in trial.cut),
    )


TEMPLATE = """# Interruptions

What `make trials` wrote: {count} trials (seed {seed}) on the bundled digits. Each brings a clone to the state before a
stage, starts `dvc repro`, and interrupts it at a random moment of that stage, DVC's own work for it included. Then it
lets the pipeline finish and compares everything with an undisturbed run.

{table}

A trial fails unless

- `dvc repro` finishes, and every output and `dvc.lock` have the bytes of the undisturbed run;
- no output was ever seen under its final name with other bytes, looked at every 20 ms;
- every file in DVC's cache has the content that its name says;
- the stage is gone within 30 s of its dvc;
- `make track` leaves nothing in the journal; no run in MLflow is RUNNING, none is there twice, and the one of the model
  is FINISHED with each epoch's cost once.

{resumed} trainings went on from a checkpoint. A stage outlived its dvc by {outlived:.1f} s at most.

A power cut is kill -9 of everything, after which each file that DVC has written since the start is cut short with a
probability of one half, to nothing or to a random length: {cut} files, {locks} times `dvc.lock`, {objects} files of the
cache. The stages wait until the disk has what they write; DVC never does. It refuses to start with a `dvc.lock` cut
short, and takes a cut file in its cache for sound. So after a power cut the way on is `make run`, which removes such
files first (`make verify`) and then starts `dvc repro`; all is there then, and what the cache still has is not computed
again. After anything else plain `dvc repro` is enough, with one exception: DVC empties `dvc.lock` before it writes it
anew, which takes 0.02 s after each stage, and killed within them it says "'./dvc.lock' validation failed" ever after.
`make run` mends that too. It was needed in {repaired} of these trials.
"""


if __name__ == "__main__":
    main()
