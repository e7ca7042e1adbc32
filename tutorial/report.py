"""Each figure that the article printed beside the reproduced one, with a verdict."""

import json
from collections.abc import Iterable
from pathlib import Path
from string import Template

import numpy as np
import torch

from softmax_regression import article, files, markdown
from softmax_regression.article import Comparison, RangeComparison, verdict
from softmax_regression.errors import exit_on_user_error
from softmax_regression.images import ImageSet
from softmax_regression.model import cross_entropy, cross_entropy_one_hot, softmax
from softmax_regression.parameters import TutorialParameters

FOLDER = Path("tutorial")


def main() -> None:
    parameters = TutorialParameters.read(FOLDER / "params.yaml")
    train, test = (ImageSet.load(Path(f"data/{name}.safetensors"), "mnist") for name in ("train", "test"))
    scratch, builtin, curve = (
        files.read_numbers(FOLDER / f"results/{stage}.csv") for stage in ("from_scratch", "builtin", "learning_curve")
    )
    models = json.loads((FOLDER / "results/from_scratch.json").read_text(encoding="utf-8"))
    sizes = curve.pop("size").astype(int)
    quantiles = np.quantile(list(curve.values()), [0.5, 0, 1], axis=0).T

    probabilities = softmax(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)))
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
        large_probabilities=markdown.cell(softmax(torch.tensor(large_logits, dtype=torch.float32)).numpy()),
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
        accuracy=f"{models['training']['test_accuracy']:.2%}",
        learning_curve=markdown.table(
            ("training images", "median", "smallest", "largest"),
            ((f"{size:,}", *map("{:.2%}".format, row)) for size, row in zip(sizes, quantiles, strict=True)),
        ),
    )
    with files.replacing(FOLDER / "report.md") as temporary:
        temporary.write_text(report, encoding="utf-8")


def _side_by_side(comparisons: Iterable[Comparison]) -> str:
    rows = ((each.what, each.published, each.reproduced, verdict(each)) for each in comparisons)
    return markdown.table(("", "published", "reproduced", "verdict"), rows)


if __name__ == "__main__":
    exit_on_user_error(main)
