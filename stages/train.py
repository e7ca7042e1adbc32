"""Train the model on the training images; save it, its costs, and a run in MLflow."""

import dataclasses
from pathlib import Path

import torch

from softmax_regression import checkpoint, files, project
from softmax_regression.errors import exit_on_user_error
from softmax_regression.images import ImageSet
from softmax_regression.journal import recording
from softmax_regression.model import SoftmaxRegression
from softmax_regression.parameters import Parameters
from softmax_regression.progress import shown
from softmax_regression.training import Recipe, choose_device

DATA, MODEL, COSTS = Path("data/train.safetensors"), Path("models/softmax.safetensors"), Path("metrics/costs.csv")


def main() -> None:
    # One thread: two wait for each other in every small product. An epoch takes 0.08 s, and 0.16 s beside another busy
    # process; with two threads on two cores it was 0.06 s, and 0.83 s beside one. The bytes do not depend on the cores.
    torch.set_num_threads(1)
    parameters = Parameters.read(Path("params.yaml"))
    recipe = Recipe(**parameters.model_dump(include={field.name for field in dataclasses.fields(Recipe)}))
    with recording("train") as event:
        event.parameters = parameters.model_dump()
        training, validation = ImageSet.load(DATA).hold_out(parameters.validation)
        digest = event.add_input(DATA, training.dataset, training.source, "training")
        device = choose_device(parameters.device)
        event.tags |= {"torch": torch.__version__, "device": device.type, "threads": str(torch.get_num_threads())}

        generator = torch.Generator().manual_seed(parameters.seed)
        classes, pixels = len(training.classes), training.pixels.shape[1]
        model = SoftmaxRegression.random(classes, pixels, parameters.init_std, generator).to(device)
        settings = parameters.model_dump(exclude={"figure_dpi", "figure_mistakes"})
        saved = checkpoint.place(project.root(), {**settings, "device": device.type, "data": digest})
        records = []
        epochs = checkpoint.train_resumably(saved, model, training, validation, recipe, generator)
        for record in shown(epochs, recipe.epochs):
            records.append(dataclasses.asdict(record))
            event.log({name: value for name, value in records[-1].items() if name != "epoch"}, step=record.epoch)

        model.save(MODEL)
        files.write_csv(COSTS, list(records[0]), [list(record.values()) for record in records])
        files.write_json(Path("metrics/train.json"), records[-1])
        event.model_sha256 = files.sha256(MODEL)
        event.keep(COSTS)
    saved.unlink(missing_ok=True)


if __name__ == "__main__":
    exit_on_user_error(main)
