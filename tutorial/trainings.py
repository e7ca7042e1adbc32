"""The article's trainings, from scratch and with the built-in API, and one on more and more images."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from parameters import TutorialParameters

from softmax_regression.base import files
from softmax_regression.base.errors import UserError
from softmax_regression.base.running import run
from softmax_regression.data.images import ImageSet
from softmax_regression.data.parameters import Parameters
from softmax_regression.model.arithmetic import hold_to_one_order
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.tracking.event import Event
from softmax_regression.tracking.journal import recording
from softmax_regression.training.loop import cost_and_accuracy, descend
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.state import TrainingState

DATA = {"training": Path("data/train.safetensors"), "testing": Path("data/test.safetensors")}
RESULTS = Path("tutorial/results")


def main() -> None:
    hold_to_one_order()
    parameters, tutorial = Parameters.read(Path("params.yaml")), TutorialParameters.read(Path("tutorial/params.yaml"))
    sets = {name: ImageSet.load(path, "mnist") for name, path in DATA.items()}
    epochs, count = tutorial.article_epochs, tutorial.article_images
    article = Recipe("scratch", tutorial.article_lr, "constant", epochs, batch_size=count, momentum=0, weight_decay=0)
    settings: dict[str, object] = {"images": count, "lr": article.lr, "epochs": epochs}
    with recording("from_scratch", None, "tutorial", "from scratch", settings) as event:
        note_inputs(event, sets)
        from_scratch(event, sets, article)
    settings |= {"init_std": tutorial.article_init_std, "seeds": tutorial.article_seeds}
    with recording("builtin", None, "tutorial", "built-in API", settings) as event:
        note_inputs(event, {"training": sets["training"]})
        recipe = dataclasses.replace(article, implementation="builtin")
        builtin(event, sets["training"].part(0, count), tutorial.article_init_std, tutorial.article_seeds, recipe)
    recipe = Recipe.of(vars(parameters))
    sizes, seeds = tutorial.curve_sizes, tutorial.curve_seeds
    settings = {**vars(recipe), "init_std": parameters.init_std, "sizes": sizes, "seeds": seeds}
    with recording("learning_curve", None, "tutorial", "learning curve", settings) as event:
        note_inputs(event, sets)
        curve = learning_curve(sets["training"], sets["testing"], sizes, seeds, parameters.init_std, recipe)
        columns, rows = [f"test_accuracy_seed_{seed}" for seed in range(seeds)], []
        for size, accuracies in curve:
            rows.append((size, *accuracies))
            event.log(dict(zip(columns, accuracies, strict=True)), step=size)
        files.write_csv(RESULTS / "learning_curve.csv", ("size", *columns), rows)


def note_inputs(event: Event, sets: Mapping[str, ImageSet]) -> None:
    for name, images in sets.items():
        event.add_input(DATA[name], images.dataset, images.source, name)


def from_scratch(event: Event, sets: Mapping[str, ImageSet], recipe: Recipe) -> None:
    """From zeros, on the first training images, as the article's code says, and on the first test images."""
    costs: dict[str, list[float]] = {}
    models: dict[str, object] = {}
    for name, images in sets.items():
        generator = torch.Generator()
        model = SoftmaxRegression.random(images.model_shape, 0, generator)
        first = images.part(0, recipe.batch_size)
        costs[name] = [cost.item() for cost in descend(TrainingState.start(model, generator), first, recipe)]
        for epoch, cost in enumerate(costs[name]):
            event.log({f"{name}_images_cost": cost}, step=epoch)
        _, accuracy = cost_and_accuracy(model, sets["testing"])
        event.log({f"{name}_images_test_accuracy": accuracy})
        predicted = model.log_probabilities(torch.from_numpy(sets["testing"].pixels[:10])).argmax(1).tolist()
        models[name] = {"test_accuracy": accuracy, "predicted": predicted}
    rows = zip(range(recipe.epochs), *costs.values(), strict=True)
    files.write_csv(RESULTS / "from_scratch.csv", ("epoch", *costs), rows)
    files.write_json(RESULTS / "from_scratch.json", models)


def builtin(event: Event, images: ImageSet, init_std: float, seeds: int, recipe: Recipe) -> None:
    """From many starting points at once, since nobody knows the article's."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
    shape = images.model_shape
    # nn.Linear draws its bias evenly from ±1/√inputs.
    models = [SoftmaxRegression.random(shape, init_std, generator, shape[1] ** -0.5) for generator in generators]
    state = TrainingState.start(SoftmaxRegression.stack(models).to(recipe.dtype), generators[0])
    costs = torch.stack(list(descend(state, images, recipe)))
    ranges = torch.stack([costs.amin(1), costs.median(1).values, costs.amax(1)], dim=1).tolist()
    columns = ("smallest", "median", "largest")
    for epoch, values in enumerate(ranges):
        event.log({f"{name}_cost": value for name, value in zip(columns, values, strict=True)}, step=epoch)
    rows = [(epoch, *values) for epoch, values in enumerate(ranges)]
    files.write_csv(RESULTS / "builtin.csv", ("epoch", *columns), rows)


def learning_curve(
    training: ImageSet, test: ImageSet, sizes: Sequence[int], seeds: int, init_std: float, recipe: Recipe
) -> Iterator[tuple[int, list[float]]]:
    """Train a model from each of the seeds 0…seeds - 1 at each size; yield each size and their test accuracies.

    A seed draws the images, without replacement, then the starting weights and the order of the images: at small sizes
    it is the draw of the images that matters. What one seed draws at a small size is part of what it draws at a larger.
    Raises UserError where a size is more than there are training images.
    """
    if max(sizes) > len(training):
        raise UserError(f"curve_sizes: {max(sizes)} is above {len(training)}, the number of training images")

    def accuracy(size: int, seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        drawn = training.take(torch.randperm(len(training), generator=generator)[:size].numpy())
        model = SoftmaxRegression.random(training.model_shape, init_std, generator).to(recipe.dtype)
        state = TrainingState.start(model, generator)
        for _ in descend(state, drawn, recipe):
            pass
        return cost_and_accuracy(state.model, test)[1]

    for size in sizes:
        yield size, [accuracy(size, seed) for seed in range(seeds)]


if __name__ == "__main__":
    run(main)
