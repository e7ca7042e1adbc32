"""The commands of docs/own-data.md, typed one after the other, and on what DVC then depends."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml
from clone import ROOT, Clone, stages_run
from dvc.repo import Repo
from mlflow import MlflowClient
from mlflow.entities import Run
from pages import commands, deviations, type_all

from softmax_regression.base.files import sha256
from softmax_regression.data.images import ImageSet
from softmax_regression.data.weights import read_whole
from softmax_regression.sources.datasets import KNOWN

COMMANDS = commands("own-data.md")


class Session:
    """A clone in which the page's commands were typed, and what each of them printed."""

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        self.printed = type_all(clone, COMMANDS)

    def data(self, part: str) -> ImageSet:
        return ImageSet.load(self.clone.folder / f"data/{part}.safetensors")


@pytest.fixture(scope="module")
def session(trained: Clone, tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(trained.copy(tmp_path_factory.mktemp("own") / "clone"))


@pytest.fixture
def another(session: Session, tmp_path: Path) -> Clone:
    """A copy of the clone after the page, whose parameters name the tiles."""
    return session.clone.copy(tmp_path / "clone")


@pytest.fixture(scope="module")
def run(session: Session) -> Run:
    client = MlflowClient(f"sqlite:///{session.clone.folder / 'mlflow.db'}")
    (found,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    return found


def dependencies(clone: Clone, dataset: str) -> set[str]:
    """The paths beside the code that `download` depends on, once params.yaml names a data set."""
    clone.set_parameters(dataset=dataset)
    with Repo(clone.folder) as repo:
        (download,) = (stage for stage in repo.index.stages if getattr(stage, "name", "") == "download")
        paths = {dep.def_path for dep in download.deps}
    return {path for path in paths if not path.startswith(("src", "stages", "params"))}


def test_each_command_prints_what_the_page_says(session: Session) -> None:
    wrong = deviations(COMMANDS, session.printed)
    assert not wrong, wrong


def test_a_built_in_set_depends_on_its_own_file_alone(another: Clone) -> None:
    for name in KNOWN:
        assert dependencies(another, name) == {name}
        assert "tiles.dvc -> " not in " ".join(another.run("dvc", "dag", "--dot").replace('"', "").split())
    assert dependencies(another, "tiles") == {"tiles"}
    assert "tiles.dvc -> download" in another.run("dvc", "dag", "--dot").replace('"', "")


def test_the_images_are_in_colour_and_the_manifest_lists_them_in_their_order(session: Session) -> None:
    train, test = session.data("train"), session.data("test")
    assert (train.image_size, len(train), len(test), train.dataset) == ((32, 32, 3), 416, 104, "tiles")
    with (session.clone.folder / "data/manifest.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["part"] for line in lines] == ["train"] * 416 + ["test"] * 104
    labels = [images.classes[label] for images in (train, test) for label in images.labels]
    assert [line["class"] for line in lines] == labels == [line["path"].split("/")[0] for line in lines]


def test_the_run_in_mlflow_knows_the_pictures(session: Session, run: Run) -> None:
    assert (run.info.run_name, run.info.status) == ("tiles", "FINISHED")
    assert (run.data.params["dataset"], run.data.params["colour"]) == ("tiles", "auto")
    inputs = {each.tags[0].value: each.dataset for each in run.inputs.dataset_inputs}  # type: ignore[union-attr]
    assert {each.name for each in inputs.values()} == {"tiles"} and inputs.keys() == {"training", "testing"}
    lock = yaml.safe_load((session.clone.folder / "dvc.lock").read_text())
    digests = {out["path"]: out["md5"] for out in lock["stages"]["download"]["outs"]}
    assert inputs["training"].digest == digests["data/train.safetensors"]
    source = json.loads(inputs["testing"].source)
    assert source["files"] == dict(session.data("test").source) and source["url"] == "tiles (test)"
    assert run.data.tags["champion"] == "takes over: the first on tiles"


def test_the_models_file_says_how_pictures_are_prepared(session: Session) -> None:
    _, _, origin = read_whole(session.clone.folder / "models/softmax.safetensors")
    assert (origin.dataset, origin.image_size, origin.preparation.shows) == ("tiles", (32, 32, 3), "picture")


def test_a_changed_picture_trains_again_and_an_unchanged_or_renamed_one_does_not(another: Clone) -> None:
    assert stages_run(another.run("dvc", "repro")) == []
    tile = another.folder / "tiles/china/0-0.png"
    tile.rename(tile.with_name("first.png"))
    assert stages_run(another.run("dvc", "repro", "train")) == ["download"]
    shutil.copy(another.folder / "docs/drawn.png", tile)
    assert stages_run(another.run("dvc", "repro", "train")) == ["download", "features", "train"]


def test_what_is_wrong_is_told_and_nothing_is_written(another: Clone) -> None:
    (another.folder / "tiles/china/0-0.png").write_bytes(b"")
    (another.folder / "tiles/flower/0-0.png").write_bytes(b"<html>")
    printed = another.run("dvc", "repro", "train", check=False)
    told = printed.partition("error: ")[2].splitlines()[:3]
    assert told[:2] == ["tiles: nothing is imported:", "  china/0-0.png: is empty"]
    assert told[2].startswith("  flower/0-0.png: no picture that can be read")
    assert "Traceback" not in printed and not list((another.folder / "data").glob("*.safetensors"))


def test_settings_for_own_pictures_are_refused_for_a_built_in_set(another: Clone) -> None:
    another.set_parameters(dataset="digits", image_size="4x4")
    printed = another.run("dvc", "repro", "download", check=False)
    wrong = "image_size, colour and allow_duplicates are for your own pictures: digits is taken as it is"
    assert f"error: {wrong}" in printed
    another.set_parameters(dataset="nowhere", image_size="auto")
    assert "No such file or directory" in another.run("dvc", "repro", "download", check=False)


def test_the_pages_pictures_are_those_of_its_model(session: Session) -> None:
    for name in ("predictions", "weights"):
        assert sha256(ROOT / f"docs/tiles-{name}.png") == sha256(session.clone.folder / f"figures/{name}.png")
