"""Runs an experiment for each combination of settings, and draws how their cost depends on the learning rate."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from dvc.repo import Repo
from dvc.repo.experiments.queue.tasks import run_exp
from dvc.repo.experiments.utils import exp_refs
from hydra.errors import HydraException
from matplotlib.figure import Figure

from softmax_regression.base.errors import UserError, one_line
from softmax_regression.results.figures import save
from softmax_regression.tools.ranking import Experiment, varying

PICTURE = Path("figures/sweep.png")
RUN = """
import json, sys
import dvc_task.proc.tasks  # makes known to Celery what run_exp calls
from dvc.repo.experiments.queue.tasks import run_exp
run_exp(json.loads(sys.argv[1]))
"""


def queue(settings: Sequence[str], repo: Repo) -> dict[str, dict[str, Any]]:
    """Put an experiment into DVC's queue for each combination of `settings` such as "lr=choice(0.1,0.2)".

    Returns DVC's description of each, by the tag of its message in the queue. Raises UserError for what is no setting.
    """
    before = _queued(repo)
    try:
        repo.experiments.run(params=list(settings), queue=True)
    except HydraException as error:
        raise UserError(f"{one_line(error)}: write lr=0.1, lr=choice(0.1,0.2) or seed=range(1,4)") from None
    entries = {tag: entry for tag, entry in _queued(repo).items() if tag not in before}
    if not entries:
        raise UserError(f"{' '.join(settings)}: no combination of these")
    return entries


def _queued(repo: Repo) -> dict[str, dict[str, Any]]:
    messages = repo.experiments.celery_queue.celery.iter_queued()
    return {each.delivery_tag: each.decode()[0][0] for each in messages if each.headers["task"] == run_exp.name}


def run(entries: Mapping[str, Mapping[str, Any]], jobs: int, repo: Repo, say: Callable[[str], object]) -> list[str]:
    """Run what `queue` returned, `jobs` at a time, and `say` how each ends; return the names of those that did well.

    Each in a process of its own that does what a worker of DVC's queue would do. Whoever waits for such a worker waits
    for ever once it has died, as it does where it reads a message that another process has half written.
    """
    done: list[str] = []
    pool = ThreadPoolExecutor(jobs)
    try:
        running = {pool.submit(_run_one, tag, entry, repo): entry["name"] for tag, entry in entries.items()}
        for number, each in enumerate(as_completed(running), 1):
            reason = each.result()
            say(f"{number} of {len(running)}: {running[each]}: {reason or 'done'}")
            done += [] if reason else [running[each]]
    finally:
        pool.shutdown(cancel_futures=True)  # what has not begun stays in DVC's queue
    return done


def _run_one(tag: str, entry: Mapping[str, Any], repo: Repo) -> str | None:
    """Why an experiment failed, or None."""
    try:
        repo.experiments.celery_queue.celery.reject(tag)  # taken out of the queue
    except ValueError:
        return "a worker of DVC's queue was quicker, and runs it: dvc queue status"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
    command = [sys.executable, "-c", RUN, json.dumps(entry)]
    ended = subprocess.run(command, cwd=repo.root_dir, env=environment, capture_output=True, text=True, check=False)
    if entry["name"] in {found.name for found in exp_refs(repo.scm)}:
        return None
    log = Path(repo.experiments.celery_queue.pid_dir) / entry["stash_rev"] / f"{entry['stash_rev']}.out"
    lines = [*ended.stderr.splitlines(), *(log.read_text().splitlines() if log.exists() else [])]
    said = [line for line in lines if line.lower().startswith("error: ")]
    return said[0] if said else f"failed: dvc queue logs {entry['name']}"


def series(experiments: Sequence[Experiment]) -> dict[str, dict[float, float]]:
    """Validation cost by learning rate, one series for each setting of the other parameters that vary.

    The key of a series names what is particular to it, "momentum 0.5, seed 1", and is empty where nothing but the
    learning rate varies.
    """
    others = [name for name in varying(experiments) if name != "lr"]
    found: dict[str, dict[float, float]] = {}
    for each in experiments:
        setting = ", ".join(f"{name} {each.parameters[name]}" for name in others)
        found.setdefault(setting, {})[each.parameters["lr"]] = each.figures["cost"]
    return {setting: dict(sorted(points.items())) for setting, points in sorted(found.items())}


def cost_over_lr(series: Mapping[str, Mapping[float, float]]) -> Figure:
    """Validation cost by learning rate, one line for each series under its name; the best point is named."""
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    for marker, (name, points) in zip(itertools.cycle("os^Dv<>p"), series.items(), strict=False):
        axes.plot(list(points), list(points.values()), marker=marker, fillstyle="none", label=name)  # none hides one
    cost, lr = min((cost, lr) for points in series.values() for lr, cost in points.items())
    axes.annotate(f"{cost:.4f} at {lr:g}", (lr, cost), (0, -14), textcoords="offset points", ha="center")
    axes.set_xscale("log")
    rates = sorted({lr for points in series.values() for lr in points})
    axes.set_xticks(rates, [f"{lr:g}" for lr in rates])
    axes.minorticks_off()
    axes.margins(0.12)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("validation cost (nats)")
    axes.grid(alpha=0.3)
    if len(series) > 1:
        axes.legend()
    return figure


def draw(experiments: Sequence[Experiment]) -> None:
    """Draw what has been run into PICTURE."""
    save(cost_over_lr(series(experiments)), PICTURE)
