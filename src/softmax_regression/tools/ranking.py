"""The present commit and its experiments, ranked by their cost on the held-out images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dvc.repo import Repo

from softmax_regression.base.errors import UserError
from softmax_regression.results.statistics import paired_difference, with_interval
from softmax_regression.results.tables import aligned

PARAMETERS, FIGURES, COSTS, DATA = (
    "params.yaml",
    "metrics/valid.json",
    "metrics/valid_costs.npy",
    "data/train.safetensors",
)


@dataclass(frozen=True)
class Experiment:
    """A finished one, or the commit itself."""

    name: str
    parameters: Mapping[str, Any]
    figures: Mapping[str, float]
    """Of the held-out images: cost, accuracy, accuracy_low, accuracy_high."""
    held_out: tuple[str, float]
    """What they are: the digest of the training data, and the share of it."""
    costs: np.ndarray | None
    """The cost of each held-out image, float32 [N]; None where the cache does not have them."""


def finished(repo: Repo) -> list[Experiment]:
    """The commit and the experiments on it that have finished; raises UserError where a cached file is damaged."""
    return [
        found
        for commit in repo.experiments.show()[1:]
        for each in (commit, *(commit.experiments or []))
        if (found := _read(each, each is commit, repo)) and (each is commit or not _is_search(each, commit))
    ]


def _is_search(experiment: Any, commit: Any) -> bool:
    """Whether it changes what a search tries, and trained nothing of the pipeline's own: the costs are the commit's."""
    before, after = (state.data for state in (commit, experiment.revs[0]))
    if not before or not after or before.params.get("search/search.yaml") == after.params.get("search/search.yaml"):
        return False
    costs, others = (each.outs.get(COSTS) for each in (before, after))
    return (costs and costs.hash) == (others and others.hash)


def _read(each: Any, is_commit: bool, repo: Repo) -> Experiment | None:
    state, executor = (each, None) if is_commit else (each.revs[0], each.executor)
    figures = state.data and state.data.metrics.get(FIGURES, {}).get("data")
    if not figures or (executor and executor.state != "success"):
        return None
    parameters, output = state.data.params[PARAMETERS]["data"], state.data.outs.get(COSTS)
    path = Path(repo.cache.local.oid_to_path(output.hash)) if output and output.hash else None
    try:
        costs = np.load(path) if path and path.is_file() else None
    except (ValueError, EOFError):
        raise UserError(f"{path}: damaged: `make verify` removes it") from None
    held_out = (state.data.deps[DATA].hash, parameters["validation"])
    return Experiment(each.name or state.rev[:7], parameters, figures, held_out, costs)


def table(experiments: Iterable[Experiment]) -> str:
    """The lowest cost first, each with how far it lies above the best on its images and the parameters that vary.

    One that its 95 % interval does not tell from the best is marked by ≈.
    """
    ranked = sorted(experiments, key=lambda each: each.figures["cost"])
    names = varying(ranked)
    rows: list[Sequence[str]] = [("", "valid_cost", "above the best", *names, "valid_accuracy (95 %)")]
    best: dict[tuple[str, float], Experiment] = {}
    for each in ranked:
        above = _above(each, best.setdefault(each.held_out, each))
        accuracy = with_interval(*(each.figures[name] for name in ("accuracy", "accuracy_low", "accuracy_high")))
        settings = [str(each.parameters.get(name)) for name in names]
        rows.append((each.name, f"{each.figures['cost']:.5f}", above, *settings, accuracy))
    return aligned(rows)


def varying(experiments: Sequence[Experiment]) -> list[str]:
    """The names of the parameters that are not the same in all experiments."""
    names = experiments[0].parameters if experiments else ()
    return [name for name in names if len({str(each.parameters.get(name)) for each in experiments}) > 1]


def _above(one: Experiment, best: Experiment) -> str:
    if one is best:
        return "best"
    if one.costs is None or best.costs is None:
        return "not in the cache"
    difference, error = paired_difference(one.costs, best.costs)
    return f"{difference:.5f} ± {error:.5f}{'' if difference > error else ' ≈'}"
