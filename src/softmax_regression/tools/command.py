"""The command `softmax`: what people do here beside DVC's own commands."""

import csv
import dataclasses
import json
import sys

import click

from softmax_regression.base import project
from softmax_regression.base.errors import UserError, one_line
from softmax_regression.base.running import run

# Each command imports what it needs itself: help and the shell's completion need not wait for DVC or MLflow.


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
def experiments() -> None:
    """Rank the experiments on the present commit by their cost on the held-out images."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    from softmax_regression.tools import ranking

    try:
        with Repo() as repo:
            found = ranking.finished(repo)
    except DvcException as error:
        raise UserError(one_line(error)) from None
    if not found:
        raise UserError("nothing has finished on this commit yet: dvc repro, or dvc exp run -S lr=0.2")
    click.echo(ranking.table(found))


@softmax.command()
def track() -> None:
    """Record in MLflow what a server's outage or a killed stage has left in .journal."""
    from softmax_regression.tracking import recorder

    recorder.record_left_over()


def main() -> None:
    """Run the command; mistakes end it in one line."""
    run(softmax)


if __name__ == "__main__":
    main()
