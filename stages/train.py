"""Train the model on the training images; save it, its costs, and a run in MLflow."""

import dataclasses
from pathlib import Path

import torch

from softmax_regression import files
from softmax_regression.errors import exit_on_user_error
from softmax_regression.images import ImageSet
from softmax_regression.model import SoftmaxRegression
from softmax_regression.parameters import Parameters
from softmax_regression.progress import shown
from softmax_regression.tracking import Run
from softmax_regression.training import Recipe, choose_device, train

MODEL = Path("models/softmax.safetensors")


def main() -> None:
    parameters = Parameters.read(Path("params.yaml"))
    training, validation = ImageSet.load(Path("data/train.safetensors")).hold_out(parameters.validation)
    generator = torch.Generator().manual_seed(parameters.seed)
    classes, pixels = len(training.classes), training.pixels.shape[1]
    device = choose_device(parameters.device)
    model = SoftmaxRegression.random(classes, pixels, parameters.init_std, generator).to(device)
    recipe = Recipe(**parameters.model_dump(include={field.name for field in dataclasses.fields(Recipe)}))
    with Run.training(parameters.model_dump()) as run:
        epochs = train(model, training, validation, recipe, generator)
        records = [dataclasses.asdict(epoch) for epoch in shown(epochs, parameters.epochs)]
        model.save(MODEL)
        files.write_csv(Path("metrics/costs.csv"), list(records[0]), [list(record.values()) for record in records])
        files.write_json(Path("metrics/train.json"), records[-1])
        run.log_series(records, step="epoch")
        run.tag_model(files.sha256(MODEL))


if __name__ == "__main__":
    exit_on_user_error(main)
