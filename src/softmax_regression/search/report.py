"""What a search has found: a row for each setting, and for people the best ones ranked."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from softmax_regression.base.errors import UserError
from softmax_regression.results.statistics import half_width, mean_and_error, paired_difference
from softmax_regression.results.tables import aligned, varying
from softmax_regression.search.member import Member
from softmax_regression.search.results import Result, results_of
from softmax_regression.search.space import FILE, NAMES, Setting

COLUMNS = (*NAMES, "valid_cost", "valid_accuracy", "end", "epochs_done", "sha256")
MOST_RANKED = 20
"""Lines of the ranking."""


def rows(members: Sequence[Member]) -> Iterator[list[object]]:
    """COLUMNS of each; where it has diverged in the first epoch, there are no figures."""
    for member in members:
        last = member.records[-1] if member.records else None
        figures = (last.valid_cost, last.valid_accuracy) if last else ("", "")
        yield [*asdict(member.setting).values(), *figures, member.end, len(member.records), member.model_sha256]


def rank(members: Sequence[Member]) -> list[Result]:
    """The settings that were trained to the end, the lowest cost first.

    Raises UserError where there are none.
    """
    found = [result for result in results_of(members) if result.is_trained]
    if not found:
        raise UserError(f"{FILE}: no setting could be trained to the end, as the cost is no longer finite: lower lr")
    return found


def table(ranked: Sequence[Result], names: Sequence[str], costs: Mapping[int, np.ndarray]) -> str:
    """The first of the ranking as lines, with how far they lie above the best, and the parameters `names`.

    `costs` has the cost of each held-out image, [N], by the member's number. What the 95 % interval of the difference
    does not tell from the best is marked by ≈.
    """
    lines: list[Sequence[str]] = [("valid_cost", "above the best (95 %)", *names, "valid_accuracy")]
    best = _of_seeds(ranked[0], costs)
    for each in ranked[:MOST_RANKED]:
        error = "" if math.isnan(each.error) else f" ± {each.error:.5f}"
        above = "best" if each is ranked[0] else _above(_of_seeds(each, costs), best)
        accuracy = math.fsum(member.records[-1].valid_accuracy for member in each.members) / len(each.members)
        settings = (str(getattr(each.setting, name)) for name in names)
        lines.append((f"{each.cost:.5f}{error}", above, *settings, f"{accuracy:.4f}"))
    return aligned(lines)


def _of_seeds(result: Result, costs: Mapping[int, np.ndarray]) -> np.ndarray:
    return np.array([costs[member.number] for member in result.members])


def _above(costs: np.ndarray, best: np.ndarray) -> str:
    """How much larger the mean of `costs` [seeds, images] is than that of the best, and ± what.

    Other images would change it, and other seeds: both are seen in the differences, image by image and seed by seed.
    Images alone told a setting from itself with other seeds in two of five cases, on the digits.
    """
    difference, images = paired_difference(costs.mean(0), best.mean(0))
    _, error = mean_and_error(costs.mean(1) - best.mean(1))
    half = math.hypot(images, half_width(error, len(costs)))
    if math.isnan(half):
        return f"{difference:.5f}"  # of one image
    return f"{difference:.5f} ± {half:.5f}{'' if difference > half else ' ≈'}"


def summary(members: Sequence[Member], ranked: Sequence[Result], costs: Mapping[int, np.ndarray], features: str) -> str:
    """What `make search` ends with: how many there were, the table, and how the best becomes the pipeline's."""
    ends = [member.end for member in members]
    names = [name for name in varying(vars(member.setting) for member in members) if name != "seed"]
    seeds = len(ranked[0].members)
    means = f", the mean over {seeds} seeds ± its standard error" if seeds > 1 else "; another seed would change it"
    more = f"\nand {len(ranked) - MOST_RANKED} more: search/results.csv" if len(ranked) > MOST_RANKED else ""
    first = ranked[0].first
    return f"""\
{len(members)} trainings: {ends.count("trained")} to the end, {ends.count("stopped")} stopped, \
{ends.count("diverged")} diverged. valid_cost is in nats{means}.
≈ marks what chance, of the images and of the seeds, does not tell from the best.

{table(ranked, names, costs)}{more}

The best becomes the pipeline's by the following command, and its model has the SHA-256
{first.model_sha256}
{command(first.setting, features)}
"""


def best(ranked: Result, summary: str) -> str:
    """Lines of YAML: the summary as a comment, then the setting and its figures, both with its first seed."""
    comment = [f"# {line}".rstrip() for line in summary.splitlines()]
    values = dict(zip(COLUMNS, next(rows([ranked.first])), strict=True))
    values["seed"] = f"{values['seed']}  # the first one, of which the figures below are"
    return "\n".join([*comment, *(f"{name}: {value}" for name, value in values.items()), ""])


def command(setting: Setting, features: str) -> str:
    """The command whose model is that of the setting on such features, whatever params.yaml says; on the same data."""
    values = {"features": features, "implementation": "scratch", **asdict(setting)}
    return f"dvc exp run {' '.join(f'-S {name}={value}' for name, value in values.items())}"
