"""The command `softmax`: what people do here beside DVC's own commands."""

import csv
import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from softmax_regression.base import project
from softmax_regression.base.errors import UserError, one_line
from softmax_regression.base.running import run

# MLflow reads this when imported. Each command imports what it needs itself: help need not wait for DVC or MLflow.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

MODEL_HELP = "A file, models:/softmax-regression@champion, a commit or an experiment; else the project's own."


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def softmax() -> None:
    """Softmax regression as a reproducible pipeline: what goes beyond `dvc repro` and `dvc exp run`."""


@softmax.command()
@click.argument("a")
@click.argument("b")
@click.option("--json", "form", flag_value="json", help="As a JSON object.")
@click.option("--csv", "form", flag_value="csv", help="As comma-separated values.")
def compare(a: str, b: str, form: str | None) -> None:
    """Compare the test predictions of A and B.

    Each is a commit, a branch, a tag, an experiment's name, or `workspace`.
    """
    from softmax_regression.tools import comparison

    found = comparison.compare(a, b, str(project.root()))
    values = dataclasses.asdict(found) | {"conclusion": found.conclusion}
    if form == "csv":
        writer = csv.DictWriter(sys.stdout, values, lineterminator="\n")
        writer.writeheader()
        writer.writerow(values)
    else:
        click.echo(json.dumps(values, indent=2, ensure_ascii=False) if form == "json" else str(found))


@softmax.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--model", help=MODEL_HELP)
@click.option("--json", "form", flag_value="json", help="As a JSON object for each picture.")
@click.option("--csv", "form", flag_value="csv", help="As comma-separated values.")
@click.option("--show", type=click.Path(dir_okay=False), help="Draw what the model saw of the first 20.")
def predict(files: tuple[str, ...], model: str | None, form: str | None, show: str | None) -> None:
    """Tell what pictures show, as in `softmax predict seven.png photos/`.

    PNG, JPEG, GIF, WebP, TIFF or BMP. Of a folder all files with such names are taken; - is standard input.
    """
    from softmax_regression.tools import models, predicting

    predicting.predict(files, models.find(model).load(), form or "text", show)


@softmax.command()
@click.option("--model", help=MODEL_HELP)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at: 0.0.0.0 is all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 is any free one.")
@click.option(
    "--processes", type=click.IntRange(1, 64), help="As many as there are processors, 4 at most, unless given."
)
def serve(model: str | None, host: str, port: int, processes: int | None) -> None:
    """Answer what pictures show over HTTP, with a page to draw on; a new model is taken over as it comes."""
    from softmax_regression.tools import web

    web.serve(model, host, port, processes or min(4, os.cpu_count() or 1))


@softmax.command()
def experiments() -> None:
    """Rank the experiments on the present commit by their cost on the held-out images."""
    from softmax_regression.tools import ranking

    with _repository() as repo:
        found = ranking.finished(repo)
    if not found:
        raise UserError("nothing has finished on this commit yet: dvc repro, or dvc exp run -S lr=0.2")
    click.echo(ranking.table(found))


@softmax.command()
def track() -> None:
    """Record in MLflow what a server's outage or a killed stage has left in .journal."""
    from softmax_regression.tracking import recorder

    recorder.record_left_over()


@softmax.command()
@click.option("-S", "settings", multiple=True, required=True, help="As 'lr=choice(0.1,0.2)' or epochs=10.")
@click.option("-j", "--jobs", type=click.IntRange(1), default=2, show_default=True, help="How many at a time.")
def sweep(settings: tuple[str, ...], jobs: int) -> None:
    """Run an experiment for each combination of settings, rank them, and draw figures/sweep.png."""
    from softmax_regression.tools import ranking, sweep

    os.chdir(project.root())  # DVC looks for params.yaml in the present directory
    with _repository() as repo:
        entries = sweep.queue(settings, repo)
        names = sweep.run(entries, jobs, repo, click.echo)
    with _repository() as repo:
        found = [each for each in ranking.finished(repo) if each.name in names]
    if found:
        click.echo(ranking.table(found))
        sweep.draw(found)
        click.echo(f"{sweep.PICTURE}: their cost on the held-out images over the learning rate")
    if failed := len(entries) - len(names):
        raise UserError(f"{failed} of {len(entries)} experiments failed")
    if len(found) < len(names):
        raise UserError("the commit has changed since: `dvc exp show --all-commits` shows the others")


@softmax.command()
def ui() -> None:
    """Open MLflow's table of runs, served on this machine alone unless it is a server's."""
    from softmax_regression.tracking import ui

    ui.show_runs()


@softmax.command()
def push() -> None:
    """Push to the DVC remote what `dvc push --run-cache` leaves out: the files that its records name."""
    from softmax_regression.tools import cache

    with _repository() as repo:
        click.echo(f"{cache.push(repo)} files of the run cache pushed")


@softmax.command()
def verify() -> None:
    """Remove what a power cut or a failing disk has damaged in DVC's cache and lock files."""
    from softmax_regression.tools import cache

    with _repository() as repo:
        if removed := cache.remove_cut_short(repo) + cache.remove_damaged(repo):
            for path in removed:
                click.echo(f"{path.relative_to(repo.root_dir)}: damaged, removed")
            click.echo("`dvc pull` fetches what is missing now, `dvc repro` makes it again")


@softmax.command()
def mirrors() -> None:
    """Tell by the exit code whether the data set can be had: 0 if so, 1 if no mirror answers."""
    from softmax_regression.tools import mirrors

    sys.exit(0 if mirrors.can_be_reached(project.root()) else 1)


@contextmanager
def _repository() -> Iterator[Any]:
    """DVC's repository; what it refuses is told in one line."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(project.root())) as repo:
            yield repo
    except DvcException as error:
        raise UserError(": ".join(one_line(each) for each in (error, error.__cause__) if each)) from None


def main() -> None:
    """Run the command; mistakes end it in one line, and Ctrl-C as everywhere here."""

    def command() -> None:
        try:
            sys.exit(softmax(standalone_mode=False))
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            raise KeyboardInterrupt from None

    run(command, takes_arguments=True)


if __name__ == "__main__":
    main()
