"""Train each setting that search.yaml means as if alone; rank them by their cost on the held-out images."""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from softmax_regression.base import files, project
from softmax_regression.base.running import run
from softmax_regression.data.images import ImageSet
from softmax_regression.data.parameters import Parameters
from softmax_regression.data.weights import Origin
from softmax_regression.model import exact
from softmax_regression.model.arithmetic import set_threads
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.results.figures import save
from softmax_regression.results.tables import varying
from softmax_regression.search import report, stack_files
from softmax_regression.search.bar import show
from softmax_regression.search.member import Member
from softmax_regression.search.plots import draw
from softmax_regression.search.scheduler import search
from softmax_regression.search.space import FILE, SearchSpace
from softmax_regression.search.turns import Material
from softmax_regression.tracking.event import CHILDREN_A_FILE, SECONDS_BETWEEN_UPDATES, Child, Event
from softmax_regression.tracking.journal import recording

DATA, BEST, RESULTS = Path("data/train.safetensors"), Path("search/best.yaml"), Path("search/results.csv")
FIGURES = Path("search/figures")
EXPERIMENT = "softmax-regression-search"


def main() -> None:
    parameters, space = Parameters.read(Path("params.yaml")), SearchSpace.read(FILE)
    settings = space.settings()
    members = [Member(number, setting) for number, setting in enumerate(settings)]
    set_threads()
    with recording("search", experiment=EXPERIMENT) as event:
        images, features = ImageSet.load(DATA), parameters.features_of(DATA)
        digest = event.add_input(DATA, images.dataset, images.source, "training")
        images = images.with_features(features, digest)
        event.parameters |= {"trainings": len(members), "rungs": list(space.rungs)}
        event.parameters |= {"features": parameters.features, "validation": parameters.validation}
        event.keep(FILE)
        given = digest + (files.md5(features) if features else "")
        folder = stack_files.folder_of(project.root(), settings, space.rungs, given, parameters.validation)
        material = Material(DATA, features, parameters.validation, Origin.of(images, digest))
        record(show(search(members, space.rungs, material, folder, parameters.workers), members), members, event)

        files.write_csv(RESULTS, report.COLUMNS, report.rows(members))
        ranked = report.rank(members)
        event.log({"valid_cost": ranked[0].cost})
        wanted = [member.number for each in ranked[: report.MOST_RANKED] for member in each.members]
        _, validation = images.hold_out(parameters.validation)
        costs = costs_of_images(stack_files.models(folder, wanted), validation)
        files.write_text(BEST, report.best(ranked[0], report.summary(members, ranked, costs, parameters.features)))
        for path in (RESULTS, BEST):
            event.keep(path)
        shutil.rmtree(FIGURES, ignore_errors=True)  # another search's, where DVC has not removed them
        for name, figure in draw(members).items():
            save(figure, FIGURES / f"{name}.png")
            event.keep(FIGURES / f"{name}.png", "artifacts/figures")
    shutil.rmtree(folder, ignore_errors=True)  # gone, where a second search of the same was quicker


def record(turns: Iterator[list[Member]], members: Sequence[Member], event: Event) -> None:
    """Take all turns, and have the members recorded that have ended, many at a time as each time has its cost."""
    names = varying(vars(member.setting) for member in members) or ["lr"]
    waiting, recorded = {*range(len(members))}, 0.0
    for _ in turns:
        ended = [member for member in members if member.end and member.number in waiting]
        late = time.monotonic() - recorded > SECONDS_BETWEEN_UPDATES
        if ended and (late or len(ended) >= min(CHILDREN_A_FILE, len(waiting))):
            event.add_children([as_child(member, names) for member in ended])
            waiting -= {member.number for member in ended}
            recorded = time.monotonic()


def as_child(member: Member, names: Iterable[str]) -> Child:
    """A member as MLflow shall know it, by what it has in its parameters `names`."""
    setting = asdict(member.setting)
    figures = [(record.epoch, asdict(record)) for record in member.records]
    curves = [(name, row[name], epoch) for epoch, row in figures for name in row if name != "epoch"]
    status = "FAILED" if member.end == "diverged" else "FINISHED"
    name = " ".join(f"{name}={setting[name]}" for name in names)
    return Child(name, setting, curves, {"end": member.end}, member.model_sha256, status)


def costs_of_images(models: Mapping[int, SoftmaxRegression], validation: ImageSet) -> Mapping[int, np.ndarray]:
    """The cost of each held-out image, float64 [N], by the model as it is saved."""
    return {
        number: exact.predict(
            model.weight.float().numpy(), model.bias.float().numpy(), validation.rows, validation.labels
        )[2]
        for number, model in models.items()
    }


if __name__ == "__main__":
    run(main)
