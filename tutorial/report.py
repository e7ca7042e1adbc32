"""Each figure that the article printed beside the reproduced one, with a verdict; and the pictures to it."""

import json
from collections.abc import Iterable
from pathlib import Path
from string import Template

import article
import numpy as np
import torch
from article import Comparison, RangeComparison, verdict
from figures import learning_curve, printed_costs
from parameters import TutorialParameters

from softmax_regression.base import files
from softmax_regression.base.running import run
from softmax_regression.data.images import ImageSet
from softmax_regression.model.cost import cross_entropy, cross_entropy_one_hot
from softmax_regression.model.softmax import softmax
from softmax_regression.results.figures import image_grid, prediction_titles, save
from softmax_regression.results.statistics import wilson_interval
from softmax_regression.tools import markdown

FOLDER = Path("tutorial")


def main() -> None:
    parameters = TutorialParameters.read(FOLDER / "params.yaml")
    train, test = (ImageSet.load(Path(f"data/{name}.safetensors"), "mnist") for name in ("train", "test"))
    names = ("from_scratch", "builtin", "learning_curve")
    scratch, builtin, curve = (files.read_numbers(FOLDER / f"results/{name}.csv") for name in names)
    models = json.loads((FOLDER / "results/from_scratch.json").read_text(encoding="utf-8"))
    sizes, accuracies = curve.pop("size").astype(int), np.stack(list(curve.values()), axis=1)
    quantiles = np.quantile(accuracies, [0.5, 0, 1], axis=1).T

    probabilities = softmax(torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    large_logits = [1000, 999, 0]
    example = (
        torch.tensor(article.EXAMPLE_PREDICTIONS, dtype=torch.float64).log(),
        torch.tensor(article.EXAMPLE_CLASSES),
    )
    predicted, truth = models["training"]["predicted"], test.labels[:10]
    epochs = list(article.EPOCHS)

    labels = [Comparison("labels of the first 25 training images", article.LABELS, train.labels[:25])]
    formulas = [
        Comparison("sums of softmax's rows", [1.0] * 3, probabilities.sum(1).numpy()),
        Comparison("cross-entropy, by index", [article.EXAMPLE_COST], [cross_entropy(*example).item()]),
        Comparison(
            "cross-entropy, by one-hot target", [article.EXAMPLE_COST], [cross_entropy_one_hot(*example).item()]
        ),
    ]
    on_training, on_test = (
        Comparison(f"costs from scratch, {how}", article.COSTS_FROM_SCRATCH, scratch[column][epochs])
        for how, column in (("on training images as its code says", "training"), ("on test images", "testing"))
    )
    predictions = [
        Comparison("labels of the first 10 test images", article.TEST_LABELS, truth),
        Comparison("predictions for them", article.PREDICTIONS, predicted),
        Comparison("right predictions", [article.PREDICTIONS_RIGHT], [(predicted == truth).sum()]),
    ]
    smallest, largest = builtin["smallest"][epochs], builtin["largest"][epochs]
    range_name = f"costs with the built-in API, in the range of {parameters.article_seeds} seeds"
    in_range = RangeComparison(range_name, article.COSTS_BUILTIN, smallest, largest)
    everything: list[Comparison | RangeComparison] = [*labels, *formulas, on_training, on_test, *predictions, in_range]

    report = Template((FOLDER / "report.template.md").read_text(encoding="utf-8")).substitute(
        parameters.model_dump(),
        summary=markdown.table(("published", "verdict"), ((each.what, verdict(each)) for each in everything)),
        labels=_side_by_side(labels),
        softmax=markdown.table([f"class {n}" for n in range(5)], probabilities.numpy()),
        formulas=_side_by_side(formulas),
        large_logits=markdown.cell(large_logits),
        large_probabilities=markdown.cell(softmax(torch.tensor(large_logits, dtype=torch.float64)).numpy()),
        costs_from_scratch=markdown.table(
            ("epoch", "published", "on training images", "agrees", "on test images", "agrees"),
            zip(
                *(epochs, article.COSTS_FROM_SCRATCH),
                *(on_training.reproduced, on_training.agrees, on_test.reproduced, on_test.agrees),
                strict=True,
            ),
        ),
        origin=article.origin(on_training, on_test),
        predictions=_side_by_side(predictions),
        predictions_of_test_model=markdown.cell(models["testing"]["predicted"]),
        costs_builtin=markdown.table(
            ("epoch", "published", "smallest", "largest", "in range"),
            zip(epochs, article.COSTS_BUILTIN, smallest, largest, in_range.agrees, strict=True),
        ),
        accuracy=_with_interval(models["training"]["test_accuracy"], len(test)),
        learning_curve=markdown.table(
            ("training images", "median", "smallest", "largest"),
            ((f"{size:,}", *map("{:.2%}".format, row)) for size, row in zip(sizes, quantiles, strict=True)),
        ),
    )
    with files.replacing(FOLDER / "report.md") as temporary:
        temporary.write_text(report, encoding="utf-8")

    images, marked = parameters.article_images, models["training"]["test_accuracy"]
    classes, guessed = np.array(test.classes), np.array(predicted)
    titles = prediction_titles(classes[guessed], classes[truth])
    lines = {f"{images} test images": scratch["testing"], f"{images} training images": scratch["training"]}
    median = {f"median of {parameters.article_seeds} seeds": builtin["median"]}
    seeds = ("range", builtin["smallest"], builtin["largest"])
    drawn = {
        "labels": image_grid(train.images[:25], classes[train.labels[:25]]),
        "predictions": image_grid(test.images[:10], titles, right=guessed == truth),
        "from_scratch": printed_costs(dict(zip(epochs, article.COSTS_FROM_SCRATCH, strict=True)), lines),
        "builtin": printed_costs(dict(zip(epochs, article.COSTS_BUILTIN, strict=True)), median, seeds),
        "learning_curve": learning_curve(sizes, accuracies, {f"the article's {images} images": (images, marked)}),
    }
    for name, figure in drawn.items():
        save(figure, FOLDER / f"{name}.png")


def _side_by_side(comparisons: Iterable[Comparison]) -> str:
    rows = ((each.what, each.published, each.reproduced, verdict(each)) for each in comparisons)
    return markdown.table(("", "published", "reproduced", "verdict"), rows)


def _with_interval(accuracy: float, images: int) -> str:
    low, high = wilson_interval(np.array(round(accuracy * images)), np.array(images))
    return f"{accuracy:.2%} ({low:.2%} to {high:.2%})"


if __name__ == "__main__":
    run(main)
