"""Train the model on the training images; save it, its costs, and a run in MLflow."""

import dataclasses
import sys
from pathlib import Path

import torch

from softmax_regression.base import files, project
from softmax_regression.base.running import run
from softmax_regression.data.images import ImageSet
from softmax_regression.data.parameters import Parameters, TrainingParameters
from softmax_regression.data.weights import Origin
from softmax_regression.model.arithmetic import choose_device, hold_to_one_order, set_threads
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.tracking.journal import recording, unrecorded
from softmax_regression.training import checkpoint, workers
from softmax_regression.training.checkpoint_name import path_of
from softmax_regression.training.progress import show
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.record import worse_than_guessing
from softmax_regression.training.state import TrainingState

DATA, MODEL, COSTS = Path("data/train.safetensors"), Path("models/softmax.safetensors"), Path("metrics/costs.csv")


def main() -> None:
    parameters = Parameters.read(Path("params.yaml"))
    if parameters.workers > 1 and not workers.started_by_torchrun():
        workers.launch(parameters.workers, Path(__file__))
        return
    recipe = Recipe.of(vars(parameters))
    set_threads()
    if recipe.implementation == "builtin":
        hold_to_one_order()
    device = choose_device(parameters.device)
    with (
        workers.join(device, parameters.workers) as share,
        recording("train", parameters=parameters.model_dump()) if share.is_first else unrecorded("train") as event,
    ):
        images, features = ImageSet.load(DATA), parameters.features_of(DATA)
        digest = event.add_input(DATA, images.dataset, images.source, "training")
        training, validation = images.with_features(features, digest).hold_out(parameters.validation)
        event.tags |= {"torch": torch.__version__, "device": device.type, "threads": str(torch.get_num_threads())}

        generator = torch.Generator().manual_seed(parameters.seed)
        model = SoftmaxRegression.random(training.model_shape, parameters.init_std, generator)
        settings = parameters.model_dump(include=set(TrainingParameters.model_fields))
        given = [digest, files.md5(features) if features else None]
        saved = path_of(project.root(), {**settings, "device": device.type, "data": given})
        state = TrainingState.start(model.to(recipe.dtype).to(device), generator)
        records = []
        epochs = checkpoint.train_resumably(saved, state, training, validation, recipe, share)
        for record in show(epochs, recipe.epochs) if share.is_first else epochs:
            records.append(dataclasses.asdict(record))
            event.log({name: value for name, value in records[-1].items() if name != "epoch"}, step=record.epoch)

        if share.is_first:
            state.model.save(MODEL, Origin.of(training, digest))
            files.write_csv(COSTS, list(records[0]), [list(record.values()) for record in records])
            if warning := worse_than_guessing(record, len(training.classes)):
                event.tags["worse_than_guessing"] = warning
                print(f"warning: {warning}", file=sys.stderr)
            event.model_sha256 = files.sha256(MODEL)
            event.keep(COSTS)
    if share.is_first:
        saved.unlink(missing_ok=True)


if __name__ == "__main__":
    run(main)
