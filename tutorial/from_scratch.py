"""The article's training from scratch: on training images, as its code says, and on test images."""

from pathlib import Path

import torch

from softmax_regression import files
from softmax_regression.arithmetic import fix_arithmetic
from softmax_regression.errors import exit_on_user_error
from softmax_regression.images import ImageSet
from softmax_regression.journal import recording
from softmax_regression.model import SoftmaxRegression
from softmax_regression.parameters import TutorialParameters
from softmax_regression.training import Recipe, cost_and_accuracy, descend

DATA = {"training": Path("data/train.safetensors"), "testing": Path("data/test.safetensors")}


def main() -> None:
    fix_arithmetic()
    parameters = TutorialParameters.read(Path("tutorial/params.yaml"))
    lr, epochs, count = parameters.article_lr, parameters.article_epochs, parameters.article_images
    recipe = Recipe("scratch", lr, "constant", epochs, batch_size=count, momentum=0, weight_decay=0)
    sets = {name: ImageSet.load(path, "mnist") for name, path in DATA.items()}
    costs: dict[str, list[float]] = {}
    models: dict[str, object] = {}
    with recording("from_scratch", experiment="tutorial", run_name="from scratch") as event:
        event.parameters = {"images": count, "lr": lr, "epochs": epochs}
        for name, images in sets.items():
            event.add_input(DATA[name], images.dataset, images.source, name)
            generator = torch.Generator()
            model = SoftmaxRegression.random(len(images.classes), images.pixels.shape[1], 0, generator)
            costs[name] = [cost.item() for cost in descend(model, images.part(0, count), recipe, generator)]
            for epoch, cost in enumerate(costs[name]):
                event.log({f"{name}_images_cost": cost}, step=epoch)
            _, accuracy = cost_and_accuracy(model, sets["testing"])
            event.log({f"{name}_images_test_accuracy": accuracy})
            predicted = model.log_probabilities(torch.from_numpy(sets["testing"].pixels[:10])).argmax(1).tolist()
            models[name] = {"test_accuracy": accuracy, "predicted": predicted}
        rows = zip(range(epochs), *costs.values(), strict=True)
        files.write_csv(Path("tutorial/results/from_scratch.csv"), ("epoch", *costs), rows)
        files.write_json(Path("tutorial/results/from_scratch.json"), models)


if __name__ == "__main__":
    exit_on_user_error(main)
