"""Runs an experiment for each combination of settings, and draws how their cost depends on the learning rate."""

import itertools
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from dvc.lock import LockError
from dvc.repo import Repo
from dvc.utils.cli_parse import to_path_overrides
from dvc.utils.hydra import get_hydra_sweeps
from hydra.errors import HydraException
from matplotlib.figure import Figure

from softmax_regression.base.errors import UserError, one_line
from softmax_regression.results.figures import save
from softmax_regression.tools.ranking import Experiment, varying

PICTURE = Path("figures/sweep.png")
ATTEMPTS = 20
"""How often DVC is asked while another DVC has its lock, for which it waits for 3 s each time."""


def combinations(settings: Sequence[str]) -> dict[str, list[str]]:
    """Each combination of settings such as "lr=choice(0.1,0.2)", by the name of its experiment: "lr=0.1,epochs=10"."""
    try:
        sweeps = get_hydra_sweeps(to_path_overrides(settings))
    except HydraException as error:
        raise UserError(f"{one_line(error)}: write lr=0.1, lr=choice(0.1,0.2) or seed=range(1,4)") from None
    each = [[f"{path}:{one}" for path, given in sweep.items() for one in given] for sweep in sweeps]
    names = (",".join(setting.removeprefix("params.yaml:") for setting in one) for one in each)
    # Of what git takes in a name, what a shell takes unquoted.
    return {re.sub(r"[^\w.=,+-]", "-", name): one for name, one in zip(names, each, strict=True)}


def run(experiments: Mapping[str, Sequence[str]], jobs: int, repo: Repo, say: Callable[[str], object]) -> None:
    """Run experiments in copies beside the workspace, `jobs` at a time, and `say` how each of them ends.

    Each is a `dvc exp run` of its own. DVC's queue would do the same, but whoever waits for it waits for ever once its
    workers have died, as they do where one reads a message that another has half written. An experiment that has one of
    these names already makes way. Raises UserError where some fail, after the others are done.
    """
    for attempt in range(ATTEMPTS):
        try:
            there = {name for found in repo.experiments.ls().values() for name, _ in found}
            if replaced := sorted(there & experiments.keys()):
                repo.experiments.remove(replaced)
            break
        except LockError:
            if attempt == ATTEMPTS - 1:
                raise
    pool = ThreadPoolExecutor(jobs)
    try:
        running = {pool.submit(_run_one, name, settings): name for name, settings in experiments.items()}
        failed = 0
        for number, each in enumerate(as_completed(running), 1):
            failed += each.result() is not None
            say(f"{number} of {len(running)}: {running[each]}: {each.result() or 'done'}")
    finally:
        pool.shutdown(cancel_futures=True)
    if failed:
        raise UserError(f"{failed} of {len(running)} experiments failed")


def _run_one(name: str, settings: Sequence[str]) -> str | None:
    """Why an experiment failed, or None."""
    arguments = itertools.chain.from_iterable(("-S", setting) for setting in settings)
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", name, *arguments]
    for _ in range(ATTEMPTS):
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if ended.returncode == 0 or "conflicts with existing experiment" in ended.stderr:  # done, then locked out
            return None
        if "Unable to acquire lock" not in ended.stderr:
            break
    said = [line for line in ended.stderr.splitlines() if line.lower().startswith("error: ")]
    return said[0] if said else f"dvc exp run has ended with {ended.returncode}"


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
