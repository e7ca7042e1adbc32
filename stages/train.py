"""Train the model on the training images; save it, its costs, and a run in MLflow."""

import dataclasses
from pathlib import Path

import torch

from softmax_regression import checkpoint, files, project, workers
from softmax_regression.arithmetic import fix_arithmetic
from softmax_regression.errors import exit_on_user_error
from softmax_regression.images import ImageSet
from softmax_regression.journal import recording, unrecorded
from softmax_regression.model import SoftmaxRegression
from softmax_regression.parameters import Parameters
from softmax_regression.progress import shown
from softmax_regression.training import Recipe, choose_device

DATA, MODEL, COSTS = Path("data/train.safetensors"), Path("models/softmax.safetensors"), Path("metrics/costs.csv")


def main() -> None:
    fix_arithmetic()
    parameters = Parameters.read(Path("params.yaml"))
    if parameters.workers > 1 and not workers.started():
        workers.launch(parameters.workers, Path(__file__))
        return
    recipe = Recipe(**parameters.model_dump(include={field.name for field in dataclasses.fields(Recipe)}))
    device = choose_device(parameters.device)
    joined = workers.joined(device, parameters.workers)
    with joined as share, unrecorded("train") if share.rank else recording("train") as event:
        event.parameters = parameters.model_dump()
        training, validation = ImageSet.load(DATA).hold_out(parameters.validation)
        digest = event.add_input(DATA, training.dataset, training.source, "training")
        event.tags |= {"torch": torch.__version__, "device": device.type, "threads": str(torch.get_num_threads())}

        generator = torch.Generator().manual_seed(parameters.seed)
        classes, pixels = len(training.classes), training.pixels.shape[1]
        model = SoftmaxRegression.random(classes, pixels, parameters.init_std, generator).to(device)
        settings = parameters.model_dump(exclude={"figure_dpi", "figure_mistakes"})
        saved = checkpoint.place(project.root(), {**settings, "device": device.type, "data": digest})
        records = []
        epochs = checkpoint.train_resumably(saved, model, training, validation, recipe, generator, share)
        for record in epochs if share.rank else shown(epochs, recipe.epochs):
            records.append(dataclasses.asdict(record))
            event.log({name: value for name, value in records[-1].items() if name != "epoch"}, step=record.epoch)

        if share.rank == 0:
            model.save(MODEL)
            files.write_csv(COSTS, list(records[0]), [list(record.values()) for record in records])
            files.write_json(Path("metrics/train.json"), records[-1])
            event.model_sha256 = files.sha256(MODEL)
            event.keep(COSTS)
    saved.unlink(missing_ok=True)


if __name__ == "__main__":
    exit_on_user_error(main)
