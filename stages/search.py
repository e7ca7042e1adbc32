"""Train each setting that search.yaml means as if alone; rank them by their cost on the held-out images."""

import shutil
from collections.abc import Iterable
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
from softmax_regression.results.figures import save
from softmax_regression.search import report, stack_files
from softmax_regression.search.bar import show
from softmax_regression.search.member import Member
from softmax_regression.search.plots import draw
from softmax_regression.search.scheduler import search
from softmax_regression.search.space import FILE, SearchSpace, varying
from softmax_regression.search.turns import Material
from softmax_regression.tracking.event import Child
from softmax_regression.tracking.journal import recording

DATA, BEST, RESULTS = Path("data/train.safetensors"), Path("search/best.yaml"), Path("search/results.csv")
EXPERIMENT = "softmax-regression-search"


def main() -> None:
    parameters, space = Parameters.read(Path("params.yaml")), SearchSpace.read(FILE)
    settings = space.settings()
    members = [Member(number, setting) for number, setting in enumerate(settings)]
    names = varying(settings)
    set_threads()
    with recording("search", experiment=EXPERIMENT) as event:
        images = ImageSet.load(DATA)
        _, validation = images.hold_out(parameters.validation)
        digest = event.add_input(DATA, images.dataset, images.source, "training")
        event.parameters |= {"settings": len(settings), "rungs": list(space.rungs), "validation": parameters.validation}
        event.keep(FILE)
        folder = stack_files.folder_of(project.root(), settings, space.rungs, digest, parameters.validation)
        material = Material(DATA, parameters.validation, Origin.of(images, digest))
        waiting = {member.number for member in members}
        for _ in show(search(members, space.rungs, material, folder, parameters.workers), members):
            ended = [member for member in members if member.end and member.number in waiting]
            waiting -= {member.number for member in ended}
            event.add_children([as_child(member, names) for member in ended])
        ranked = report.rank(members)
        event.log({"valid_cost": ranked[0].cost})

        models = stack_files.models(folder)

        def costs(member: Member) -> np.ndarray:
            weight, bias = (part.float().numpy() for part in vars(models[member.number]).values())
            return exact.predict(weight, bias, validation.pixels, validation.labels)[2]

        files.write_csv(RESULTS, report.COLUMNS, report.rows(members))
        files.write_text(BEST, report.best(ranked[0], report.summary(members, ranked, costs)))
        for path in (RESULTS, BEST):
            event.keep(path)
        for name, figure in draw(members).items():
            path = Path(f"search/figures/{name}.png")
            save(figure, path)
            event.keep(path, "artifacts/figures")
    shutil.rmtree(folder)


def as_child(member: Member, names: Iterable[str]) -> Child:
    """A member as MLflow shall know it, by what it has in its parameters `names`."""
    setting, status = asdict(member.setting), "FAILED" if member.end == "diverged" else "FINISHED"
    curves = [
        (name, value, record.epoch)
        for record in member.records
        for name, value in asdict(record).items()
        if name != "epoch"
    ]
    name = " ".join(f"{name}={setting[name]}" for name in names)
    return Child(name, setting, curves, {"end": member.end}, member.model_sha256, status)


if __name__ == "__main__":
    run(main)
