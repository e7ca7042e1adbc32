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
from softmax_regression.results.tables import varying
from softmax_regression.search import processes, report
from softmax_regression.search.bar import show
from softmax_regression.search.folder import folder_of, weights_of
from softmax_regression.search.material import Material
from softmax_regression.search.member import Member
from softmax_regression.search.scheduler import search
from softmax_regression.search.space import FILE, SearchSpace
from softmax_regression.tracking.event import CHILDREN_A_FILE, SECONDS_BETWEEN_UPDATES, Child, Event
from softmax_regression.tracking.journal import recording

DATA, BEST, RESULTS = Path("data/train.safetensors"), Path("search/best.yaml"), Path("search/results.csv")
FIGURES = Path("search/figures")
EXPERIMENT = "softmax-regression-search"


def main() -> None:
    parameters, space = Parameters.read(Path("params.yaml")), SearchSpace.read(FILE)
    settings = space.settings()
    members = [Member(number, setting) for number, setting in enumerate(settings)]
    processes.prepare(min(parameters.workers, len(members)))
    from softmax_regression.results.figures import save  # meanwhile: that takes this process 1 s
    from softmax_regression.search.plots import draw

    with recording("search", experiment=EXPERIMENT) as event:
        images, features = ImageSet.load(DATA), parameters.features_of(DATA)
        digest = event.add_input(DATA, images.dataset, images.source, "training")
        images = images.with_features(features, digest)
        event.parameters |= {"trainings": len(members), "rungs": list(space.rungs)}
        event.parameters |= {"features": parameters.features, "validation": parameters.validation}
        event.keep(FILE)
        given = digest + (files.md5(features) if features else "")
        folder = folder_of(project.root(), settings, space.rungs, given, parameters.validation)
        material = Material(DATA, features, parameters.validation, Origin.of(images, digest))
        record(show(search(members, space.rungs, material, folder, parameters.workers), members), members, event)

        files.write_csv(RESULTS, report.COLUMNS, report.rows(members))
        ranked = report.rank(members)
        event.log({"valid_cost": ranked[0].cost})
        wanted = [member.number for each in ranked[: report.MOST_RANKED] for member in each.members]
        _, validation = images.hold_out(parameters.validation)
        costs = costs_of_images(weights_of(folder, wanted), validation)
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


def costs_of_images(
    models: Mapping[int, tuple[np.ndarray, np.ndarray]], validation: ImageSet
) -> Mapping[int, np.ndarray]:
    """The cost of each held-out image, float64 [N], by the model of this weight and bias as it is saved, in float32."""
    return {
        number: exact.predict(weight.astype(np.float32), bias.astype(np.float32), validation.rows, validation.labels)[2]
        for number, (weight, bias) in models.items()
    }


if __name__ == "__main__":
    run(main)
