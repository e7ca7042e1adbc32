"""The article's training with the built-in API, from many starting points at once."""

from pathlib import Path

import torch

from softmax_regression import files
from softmax_regression.arithmetic import fix_arithmetic
from softmax_regression.errors import exit_on_user_error
from softmax_regression.images import ImageSet
from softmax_regression.journal import recording
from softmax_regression.model import SoftmaxRegression
from softmax_regression.parameters import TutorialParameters
from softmax_regression.training import Recipe, descend

DATA = Path("data/train.safetensors")
COLUMNS = ("epoch", "smallest", "median", "largest")


def main() -> None:
    fix_arithmetic()
    parameters = TutorialParameters.read(Path("tutorial/params.yaml"))
    lr, epochs, count = parameters.article_lr, parameters.article_epochs, parameters.article_images
    recipe = Recipe("builtin", lr, "constant", epochs, batch_size=count, momentum=0, weight_decay=0)
    images = ImageSet.load(DATA, "mnist").part(0, count)
    classes, pixels = len(images.classes), images.pixels.shape[1]
    with recording("builtin", experiment="tutorial", run_name="built-in API") as event:
        event.parameters = {"images": count, "lr": lr, "epochs": epochs, "init_std": parameters.article_init_std}
        event.parameters["seeds"] = parameters.article_seeds
        event.add_input(DATA, images.dataset, images.source, "training")
        generators = [torch.Generator().manual_seed(seed) for seed in range(parameters.article_seeds)]
        # nn.Linear draws its bias evenly from ±1/√inputs.
        models = [
            SoftmaxRegression.random(classes, pixels, parameters.article_init_std, generator, pixels**-0.5)
            for generator in generators
        ]
        costs = torch.stack(list(descend(SoftmaxRegression.stack(models), images, recipe, generators[0])))
        ranges = torch.stack([costs.amin(1), costs.median(1).values, costs.amax(1)], dim=1).tolist()
        for epoch, values in enumerate(ranges):
            event.log({f"{name}_cost": value for name, value in zip(COLUMNS[1:], values, strict=True)}, step=epoch)
        rows = [(epoch, *values) for epoch, values in enumerate(ranges)]
        files.write_csv(Path("tutorial/results/builtin.csv"), COLUMNS, rows)


if __name__ == "__main__":
    exit_on_user_error(main)
