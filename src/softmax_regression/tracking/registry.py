"""Models in MLflow: one logged model and one registered version for each distinct model, and who is champion."""

import functools
import hashlib
import importlib.metadata
import re
import shutil
import tempfile
from pathlib import Path

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric, Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from softmax_regression.base import tensor_files
from softmax_regression.base.errors import one_line
from softmax_regression.results.statistics import paired_difference
from softmax_regression.tracking import serving
from softmax_regression.tracking.event import Event, EventModel

MODEL_NAME = "softmax-regression"
MODEL_TAG = "model.sha256"
SERVING_MODULE = "softmax_serving"
"""The name under which serving.py goes along with the model, which so loads where the project is not installed."""
PACKAGE = Path(serving.__file__).parents[1]
FEATURES_CODE = ("__init__.py", "base/*.py", "model/__init__.py", "model/exact.py", "features/*.py")
"""What goes along as well where the model is given features, as a package with the first name of serving.py's."""
FEATURES_PACKAGE = serving.STANDARDISATION.partition(".")[0]
DESCRIPTION = (
    "Softmax regression: a probability for each class. It takes images [N, height, width], in colour [N, height, "
    "width, 3], or their rows, as arrays, nested lists, or a DataFrame of rows: whole numbers from 0 to 255, or floats "
    "from 0 to 1."
)
COSTS = "valid_costs.npy"
"""The artifact with the cost of each held-out image."""
LONGEST_PLAIN_NAME = 60
"""Letters of a data set's name that go into an alias, of which MLflow allows 255."""
HELD_OUT_TAG, VALID_COST_TAG, RUN_TAG = "held_out", "valid_cost", "run"


def register(client: MlflowClient, run: Run, event: Event, model: EventModel) -> str:
    """Keep the event's `model` as a logged model of the run and a registered version; decide on the champion.

    Returns what was decided, and why. A model that is known already gets neither again.
    """
    logged = _logged_model(client, run, event, model)
    _link(client, run.info.run_id, logged.model_id)
    version = _version(client, logged, run, event, model)
    return _judge(client, version, champion_alias(model.dataset), model.dataset)


def champion_alias(dataset: str) -> str:
    """The alias of the best model: `champion` on MNIST, and one of its own on each other data set.

    Models compare on the same data alone; with one alias for all, whoever began with the digits would keep them.
    MLflow allows letters, digits, - and _ in an alias, and some databases take A for a. So of any other name the alias
    has what is left of it, and the beginning of its SHA-256 after --, which no plain name has.
    """
    if dataset == "mnist":
        return "champion"
    if len(dataset) <= LONGEST_PLAIN_NAME and re.fullmatch(r"[a-z0-9]+([_-][a-z0-9]+)*", dataset):
        return f"champion-{dataset}"
    left = re.sub(r"[^a-z0-9]+", "-", dataset.lower())[:LONGEST_PLAIN_NAME].strip("-")
    return f"champion-{left}--{hashlib.sha256(dataset.encode()).hexdigest()[:12]}"


def link(client: MlflowClient, run_id: str, earlier: Run) -> None:
    """Make the models that an earlier run has among its outputs those of another run too."""
    for output in earlier.outputs.model_outputs if earlier.outputs else []:
        _link(client, run_id, output.model_id)


def _link(client: MlflowClient, run_id: str, model_id: str) -> None:
    # The run that logged a model has it among its outputs already, and MLflow refuses to note it twice.
    outputs = client.get_run(run_id).outputs
    if not outputs or model_id not in {output.model_id for output in outputs.model_outputs}:
        client.log_outputs(run_id, [LoggedModelOutput(model_id, 0)])


def _logged_model(client: MlflowClient, run: Run, event: Event, model: EventModel) -> LoggedModel:
    for known in client.search_logged_models([run.info.experiment_id], f"tags.`{MODEL_TAG}` = '{event.model_sha256}'"):
        if known.status == LoggedModelStatus.READY:
            return known
    # Of the answer alone: with one of the images, MLflow would refuse all but one of the forms that serving.py takes.
    signature = ModelSignature(outputs=Schema([TensorSpec(np.dtype(np.float32), (-1, model.classes))]))
    # Model.log would create it in whatever experiment is MLflow's current one. It would also copy the run's metrics of
    # step 0, which are costs after one epoch, and ask for each in turn: 26 requests, 9 s and more from a server that
    # checks a password each time.
    logged = client.create_logged_model(
        run.info.experiment_id, MODEL_NAME, run.info.run_id, {MODEL_TAG: str(event.model_sha256)}, run.data.params
    )
    client.log_batch(run.info.run_id, [Metric(*metric, model_id=logged.model_id) for metric in event.metrics])
    with tempfile.TemporaryDirectory() as folder:
        code = [str(shutil.copy(serving.__file__, Path(folder) / f"{SERVING_MODULE}.py"))]
        requirements, file = ["numpy", "safetensors"], event.folder / "model" / model.file
        if "standardisation" in tensor_files.read(file)[1]:
            code.append(str(_copy_features_code(Path(folder) / FEATURES_PACKAGE)))
            requirements.append("threadpoolctl")
        Model.log(
            None,
            mlflow.pyfunc,
            model_id=logged.model_id,
            signature=signature,
            input_example=np.load(event.folder / "model" / "example.npy"),
            # A loader module instead of a Python object: nothing is pickled.
            loader_module=SERVING_MODULE,
            data_path=str(file),
            code_paths=code,
            # Given, since MLflow would take many seconds to find them out.
            pip_requirements=[f"{name}=={importlib.metadata.version(name)}" for name in requirements],
        )
    return client.get_logged_model(logged.model_id)


def _copy_features_code(folder: Path) -> Path:
    for pattern in FEATURES_CODE:
        for path in PACKAGE.glob(pattern):
            copied = folder / path.relative_to(PACKAGE)
            copied.parent.mkdir(parents=True, exist_ok=True)
            copied.write_text(
                path.read_text(encoding="utf-8").replace(PACKAGE.name, FEATURES_PACKAGE), encoding="utf-8"
            )
    return folder


def _version(client: MlflowClient, logged: LoggedModel, run: Run, event: Event, model: EventModel) -> ModelVersion:
    # One that was registered before versions had this tag is registered again: it could not be compared.
    same = f"tags.`{MODEL_TAG}` = '{event.model_sha256}' and tags.`{HELD_OUT_TAG}` = '{model.held_out}'"
    for known in client.search_model_versions(f"name = '{MODEL_NAME}' and {same}"):
        return known
    try:
        client.create_registered_model(MODEL_NAME, description=DESCRIPTION)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {
        MODEL_TAG: event.model_sha256,
        HELD_OUT_TAG: model.held_out,
        VALID_COST_TAG: str(model.valid_cost),
        RUN_TAG: run.info.run_name,
    }
    return client.create_model_version(
        MODEL_NAME, f"models:/{logged.model_id}", run.info.run_id, tags, model_id=logged.model_id
    )


def _judge(client: MlflowClient, version: ModelVersion, alias: str, dataset: str) -> str:
    """Give the alias to a version that is better, beyond chance, than the one that has it; say why, or why not."""
    try:
        champion = client.get_model_version_by_alias(MODEL_NAME, alias)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        wins, reason = True, f"takes over: the first on {dataset}"
    else:
        wins, reason = _challenge(client, version, champion)
    if wins:
        champion = _crown(client, version, alias)
        if str(champion.version) != str(version.version):
            _, reason = _challenge(client, version, champion)
    return reason


def _challenge(client: MlflowClient, version: ModelVersion, champion: ModelVersion) -> tuple[bool, str]:
    """Whether a version is to take over from the champion, and why, in one sentence.

    It is if it costs less on the same held-out images, beyond chance. They are compared image by image: the mean
    difference must lie below zero by more than its 95 % interval.
    """
    name = champion.tags.get(RUN_TAG, f"version {champion.version}")
    if str(champion.version) == str(version.version):
        return True, f"is champion already, as version {version.version}"
    own, others = version.tags[HELD_OUT_TAG], champion.tags.get(HELD_OUT_TAG)
    if others is None and champion.tags.get(MODEL_TAG) == version.tags[MODEL_TAG]:
        return True, f"takes over: the same model as {name}, which has no costs of held-out images"
    if own != others:
        return False, f"{name} stays: other images were held out for it ({others}, not {own})"
    costs, others_costs = (_costs(client, str(each.run_id)) for each in (version, champion))
    if costs is None or others_costs is None or costs.shape != others_costs.shape:
        return False, f"{name} stays: the costs of the held-out images are gone"
    if len(costs) == 1:
        return False, f"{name} stays: one held-out image cannot tell which model is better"
    difference, error = paired_difference(costs, others_costs)
    figures = f"{abs(difference):.5f} ± {error:.5f} nats a held-out image"
    if difference < -error:
        return True, f"takes over: {figures} better than {name}"
    if difference < 0:
        return False, f"{name} stays: this model is {figures} better, which chance alone could explain"
    return False, f"{name} stays: this model is {figures} worse" if difference else f"{name} stays: equally good"


@functools.lru_cache(maxsize=8)
def _costs(client: MlflowClient, run_id: str) -> np.ndarray | None:
    """The cost of each held-out image, float32 [N], as a run keeps it; None where it is gone or damaged."""
    try:
        there = COSTS in {file.path for file in client.list_artifacts(run_id)}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        there = False  # the run has been deleted for good
    if not there:
        return None
    with tempfile.TemporaryDirectory() as folder:
        download(client, run_id, COSTS, folder)
        try:
            return np.load(Path(folder) / COSTS)
        except (ValueError, EOFError):
            return None


def download(client: MlflowClient, run_id: str, name: str, folder: str) -> None:
    """Download an artifact that is listed; raises ConnectionError where that fails.

    Of whatever goes wrong, an outage too, MLflow says that there is no such artifact.
    """
    try:
        client.download_artifacts(run_id, name, folder)
    except MlflowException as error:
        raise ConnectionError(one_line(error, 200)) from error


def find_version(client: MlflowClient, address: str) -> ModelVersion:
    """The version at `models:/NAME@ALIAS` or `models:/NAME/VERSION`; raises MlflowException where there is none."""
    place = address.removeprefix("models:/")
    name, _, alias = place.partition("@")
    if alias:
        return client.get_model_version_by_alias(name, alias)
    name, _, number = place.partition("/")
    return client.get_model_version(name, number)


def fetch(client: MlflowClient, address: str, folder: Path) -> Path:
    """Download the model at an address, as for `find_version`, into a folder; return its file.

    Raises MlflowException where it cannot be had.
    """
    version = find_version(client, address)
    mlflow.artifacts.download_artifacts(
        f"models:/{version.name}/{version.version}", dst_path=str(folder), tracking_uri=client.tracking_uri
    )
    found = next(folder.rglob("*.safetensors"), None)
    if found is None:
        raise MlflowException(f"version {version.version} of {version.name} is no model of this project")
    return found


def _crown(client: MlflowClient, version: ModelVersion, alias: str) -> ModelVersion:
    """Set the alias to a version, or to one that is better beyond chance; return which it is.

    Another machine may have set it since the champion was looked up, and this would undo that. So whoever sets it looks
    at all versions with the same images held out after that, and sets it again where one of them wins.
    """
    same_images = f"name = '{MODEL_NAME}' and tags.`{HELD_OUT_TAG}` = '{version.tags[HELD_OUT_TAG]}'"

    def cost(known: ModelVersion) -> float:
        return float(known.tags[VALID_COST_TAG])

    while True:
        client.set_registered_model_alias(MODEL_NAME, alias, version.version)
        cheaper = [known for known in client.search_model_versions(same_images) if cost(known) < cost(version)]
        better = next((known for known in sorted(cheaper, key=cost) if _challenge(client, known, version)[0]), None)
        if better is None:
            return version
        version = better
