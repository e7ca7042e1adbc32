"""Where a model comes from that somebody names: a file, MLflow's registry, or a revision in DVC."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from softmax_regression.base import project
from softmax_regression.base.errors import UserError, one_line
from softmax_regression.base.files import sha256
from softmax_regression.prediction.classifier import Classifier

FILE = "models/softmax.safetensors"
REGISTRY, SUFFIX = "models:/", ".safetensors"


@dataclass(frozen=True)
class Source:
    """A place that a model is at, now or later another one."""

    name: str
    version: Callable[[], str]
    """Names the model that is there now; raises UserError where there is none."""
    fetch: Callable[[Path], Path]
    """The model's file, written into a folder where it is not one already."""

    def load(self) -> Classifier:
        """Read the model that is there now; raises UserError where there is none, or what is there is none."""
        with tempfile.TemporaryDirectory() as folder:
            path = self.fetch(Path(folder))
            try:
                return Classifier.load(path)
            except UserError as error:
                raise UserError(str(error).replace(str(path), self.name)) from None


def find(name: str | None) -> Source:
    """The source that is meant: the project's own model, or by its path, its address in MLflow, or a revision."""
    if name is not None and name.startswith(REGISTRY):
        return _in_registry(name)
    path = project.root() / FILE if name is None else Path(name)
    if name is None or name.endswith(SUFFIX) or path.is_file():
        return in_file(path)
    return _in_revision(name)


def in_file(path: Path) -> Source:
    """The source that is a file."""

    def version() -> str:
        try:
            return sha256(path)
        except OSError as error:
            own = "in a clone, dvc repro or dvc pull brings the pipeline's own; elsewhere give --model FILE"
            raise UserError(f"{path}: {error.strerror}; {own}") from None

    def fetch(_: Path) -> Path:
        version()
        return path

    return Source(str(path), version, fetch)


def _in_registry(address: str) -> Source:
    from mlflow.exceptions import MlflowException  # here, as below: a file need not wait for it

    from softmax_regression.tracking import registry, runs

    if not set("@/") & set(address.removeprefix(REGISTRY)):
        raise UserError(f"{address}: must end with an alias or a version, as in {address}@champion or {address}/1")
    client = runs.connect(project.root())

    def version() -> str:
        try:
            return str(registry.find_version(client, address).version)
        except MlflowException as error:
            raise UserError(f"{address}: {one_line(error, 200)}") from None

    def fetch(folder: Path) -> Path:
        try:
            return registry.fetch(client, address, folder)
        except (MlflowException, OSError) as error:
            raise UserError(f"{address}: {one_line(error, 200)}") from None

    return Source(address, version, fetch)


def _in_revision(revision: str) -> Source:
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException
    from dvc.scm import RevError

    def fetch(folder: Path) -> Path:
        path = folder / Path(FILE).name
        try:
            path.write_bytes(DVCFileSystem(str(project.root()), rev=revision).read_bytes(FILE))
        except RevError:
            raise UserError(f"{revision}: no file, nor a commit, branch, tag or experiment") from None
        except (DvcException, OSError) as error:
            reason = one_line(error, 200)
            raise UserError(f"{revision}: {FILE} cannot be had from the cache or the remote: {reason}") from None
        return path

    return Source(revision, lambda: revision, fetch)
