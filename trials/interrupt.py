"""Interrupts the pipeline at a random moment of a stage, lets it finish, and looks for anything lost or wrong.

Every trial starts from the state before the stage, on the bundled digits.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml
from clone import Clone
from mlflow.entities import Run

from softmax_regression.base import files
from softmax_regression.tracking import journal, recorder, registry, runs

STAGES = ("download", "train", "evaluate", "visualize")
FAULTS = ("kill -9 of the stage", "kill -9 of dvc", "kill -9 of both", "Ctrl-C", "power cut")
EPOCHS = 400
"""In batches of 16, a training of 3 s, within which there is a checkpoint."""
REUSED = {"mlflow.db", "mlartifacts", ".mlflow.lock", ".journal"}
"""MLflow's store, which all trials share."""
SYNCED = {"mlflow.db", "mlflow.db-journal", "mlartifacts", ".journal", ".checkpoints", ".git"}
"""What no power cut can cut short, beside the outputs: SQLite, git and files.replacing wait until the disk has it."""


@dataclass
class Pipeline:
    """A clone, copies of it as it was before each stage, and what an undisturbed run makes of it."""

    clone: Clone
    before: Path
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each stage takes, from its start to the end of DVC's own work for it."""
    expected: dict[str, bytes] = field(default_factory=dict)
    """The content of each output, and of dvc.lock."""

    def contents(self) -> dict[str, bytes]:
        """What there is now of the outputs and dvc.lock."""
        found = {}
        for name in self.expected:
            with contextlib.suppress(FileNotFoundError):
                found[name] = (self.clone.folder / name).read_bytes()
        return found


@dataclass
class Trial:
    """One interruption, and what came of it."""

    stage: str
    fault: str
    moment: float = 0.0
    """Seconds after the stage's start."""
    problems: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    """What the power cut has cut short."""
    repaired: str = ""
    """What `make verify` printed, which only a power cut, or the death of DVC while it writes dvc.lock, calls for."""
    resumed: bool = False
    """Whether training went on from a checkpoint."""
    outlived: float = 0.0
    """Seconds that the stage lived longer than its dvc."""


def prepare(folder: Path) -> Pipeline:
    """Run the pipeline undisturbed, stage by stage, and keep what it looked like before each."""
    pipeline = Pipeline(Clone(folder / "clone"), folder / "before")
    clone = pipeline.clone
    clone.set_parameters(dataset="digits", batch_size=16, epochs=EPOCHS)
    # What is committed of MNIST's results would look like a torn output.
    clone.run("git", "rm", "--quiet", "-r", "dvc.lock", "metrics")
    clone.run("git", "commit", "--quiet", "--all", "--message", "Digits")
    for stage in STAGES:
        shutil.copytree(clone.folder, pipeline.before / stage, symlinks=True, ignore=shutil.ignore_patterns(*REUSED))
        with repro(clone, stage) as dvc:
            await_stage(dvc, stage)
            began = time.monotonic()
            dvc.communicate()
            pipeline.seconds[stage] = time.monotonic() - began
    stages = yaml.safe_load((clone.folder / "dvc.lock").read_text())["stages"].values()
    names = [out["path"] for stage in stages for out in stage["outs"]] + ["dvc.lock"]
    pipeline.expected = {name: (clone.folder / name).read_bytes() for name in names}
    return pipeline


def run(pipeline: Pipeline, trial: Trial, chance: random.Random) -> None:
    """Interrupt the pipeline once, let it finish, and note what is wrong then."""
    clone = pipeline.clone
    runs_before = {run.info.run_id for run in all_runs(clone)}
    restore(pipeline, trial.stage)
    trial.moment = chance.uniform(0, pipeline.seconds[trial.stage])
    began = time.time()
    with watching(pipeline, trial), repro(clone) as dvc:
        await_stage(dvc, trial.stage)
        time.sleep(trial.moment)
        interrupt(clone, dvc, trial)
    if trial.fault == "power cut":
        trial.cut = cut_short(pipeline, began, chance)
        trial.repaired = clone.make("verify")
    with watching(pipeline, trial):
        printed = clone.run("dvc", "repro", check=False)
        if trial.fault != "power cut" and wrong_files(pipeline) and (repaired := clone.make("verify")):
            trial.repaired = repaired
            printed += clone.run("dvc", "repro", check=False)
    trial.resumed = ".checkpoints: going on after epoch" in printed
    trial.problems += wrong_files(pipeline) + wrong_runs(pipeline, trial.stage, runs_before)
    if trial.problems:
        trial.problems.append(f"dvc repro printed: {printed}")


def restore(pipeline: Pipeline, stage: str) -> None:
    """Bring the clone back to where it was before a stage."""
    folder, before = pipeline.clone.folder, pipeline.before / stage
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink() and path.name not in REUSED:
            shutil.rmtree(path)
        elif path.name not in REUSED:
            path.unlink()
    shutil.copytree(before, folder, symlinks=True, ignore=shutil.ignore_patterns(*REUSED), dirs_exist_ok=True)


@contextlib.contextmanager
def repro(clone: Clone, *stages: str) -> Iterator[subprocess.Popen[str]]:
    """`dvc repro` in a process group of its own, as a terminal would start it."""
    process = subprocess.Popen(
        ["dvc", "repro", *stages],
        cwd=clone.folder,
        env=clone.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell's background job ignores Ctrl-C, and so would whatever it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def await_stage(dvc: subprocess.Popen[str], stage: str) -> None:
    """Wait until DVC says that it starts a stage."""
    assert dvc.stdout is not None
    while not (line := dvc.stdout.readline()).startswith(f"Running stage '{stage}'"):
        assert line, f"{stage} did not start"


@contextlib.contextmanager
def watching(pipeline: Pipeline, trial: Trial) -> Iterator[None]:
    """Look all the while whether an output is torn: there, and not what an undisturbed run makes of it."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for name, content in pipeline.contents().items():
                # DVC adds to its lock in place; whether it is right is seen in the end.
                if name != "dvc.lock" and content != pipeline.expected[name]:
                    trial.problems.append(f"{name} was seen torn, with {len(content)} bytes")

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def interrupt(clone: Clone, dvc: subprocess.Popen[str], trial: Trial) -> None:
    """Do to the pipeline's processes what the trial says, and wait until they are gone."""
    stages = [process for process in psutil.Process(dvc.pid).children() if is_stage(process)]
    match trial.fault:
        case "kill -9 of the stage":
            victims = stages
        case "kill -9 of dvc":
            victims = [psutil.Process(dvc.pid)]
        case "kill -9 of both":
            victims = [psutil.Process(dvc.pid), *stages]
        case "power cut":
            victims = [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(clone.folder)]
        case _:
            victims = []
            os.killpg(dvc.pid, signal.SIGINT)
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    dvc.wait(timeout=120)
    ended = time.monotonic()
    while any(map(is_alive, stages)) and trial.outlived < 30:
        time.sleep(0.01)
        trial.outlived = time.monotonic() - ended
    if trial.outlived >= 30:
        trial.problems.append("the stage lives on without its dvc")


def is_stage(process: psutil.Process) -> bool:
    """Whether a process runs one of the stages; not once it has ended."""
    try:
        return "stages/" in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # ZombieProcess is one
        return False


def is_alive(process: psutil.Process) -> bool:
    """Whether a process is neither gone nor dead and not yet buried."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def cut_short(pipeline: Pipeline, began: float, chance: random.Random) -> list[str]:
    """Cut half of the files short that were written since then and that the disk need not have; return their names."""
    cut = []
    for path in sorted(pipeline.clone.folder.rglob("*")):
        name = path.relative_to(pipeline.clone.folder)
        # Python writes its compiled modules likewise, and does not survive it; but it does so once only.
        written = path.is_file() and not path.is_symlink() and path.stat().st_mtime > began and path.suffix != ".pyc"
        synced = (name.parts[0] in SYNCED or str(name) in set(pipeline.expected) - {"dvc.lock"}) and not any(
            part.startswith(files.PARTIAL) for part in name.parts
        )
        if written and not synced and chance.random() < 0.5:
            mode = path.stat().st_mode
            path.chmod(0o644)
            os.truncate(path, chance.choice([0, chance.randint(0, path.stat().st_size)]))
            path.chmod(mode)
            cut.append(str(name))
    return cut


def wrong_files(pipeline: Pipeline) -> list[str]:
    """What of the outputs, dvc.lock and the cache is not what an undisturbed run leaves."""
    found = pipeline.contents()
    problems = [f"{name} is wrong" for name, content in pipeline.expected.items() if found.get(name) != content]
    cache = pipeline.clone.folder / ".dvc/cache/files/md5"
    problems += [
        f"{path.relative_to(cache)} in the cache is damaged"
        for path in cache.glob("??/[!.]*")
        if files.md5(path) != path.parent.name + path.name
    ]
    return problems


def wrong_runs(pipeline: Pipeline, stage: str, runs_before: set[str]) -> list[str]:
    """What of MLflow's runs is not as it should be, once `make track` has had its turn."""
    clone = pipeline.clone
    deadline = time.monotonic() + 60
    while journal.events(clone.folder):
        recorder.record_finished(clone.folder)
        if time.monotonic() > deadline:
            return ["the journal is not empty"]
    recorded = all_runs(clone)
    new = [run for run in recorded if run.info.run_id not in runs_before]
    events = Counter(run.data.tags.get(runs.EVENT_TAG, "none: restored") for run in recorded)
    problems = [f"{count} runs are of event {event}" for event, count in events.items() if count > 1]
    problems += [
        f"a run is {run.info.status}" for run in new if run.info.status not in ("FINISHED", "KILLED", "FAILED")
    ]
    model = files.sha256(clone.folder / "models/softmax.safetensors")
    last = next(run for run in recorded if run.data.tags.get(registry.MODEL_TAG) == model)
    if stage in ("evaluate", "visualize") and new:
        problems.append(f"{len(new)} new runs without a new training")
    if stage in ("download", "train") and last not in new:
        problems.append("the training has no run")
    statuses = {last.info.status} | {last.data.tags.get(f"status.{stage}") for stage in STAGES[1:]}
    if statuses != {"FINISHED"}:
        problems.append(f"the run of the model is {sorted(map(str, statuses))}")
    costs = runs.connect(clone.folder).get_metric_history(last.info.run_id, "train_cost")
    if [cost.step for cost in costs] != list(range(EPOCHS)):
        problems.append(f"the run of the model has {len(costs)} costs")
    return problems


def all_runs(clone: Clone) -> list[Run]:
    """MLflow's runs, the newest first."""
    client = runs.connect(clone.folder)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, order_by=["attributes.start_time DESC"], max_results=10_000))
