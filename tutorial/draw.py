"""Draw the article's image grids, its costs beside the reproduced ones, and the learning curve."""

import json
from pathlib import Path

import numpy as np

from softmax_regression import article, files
from softmax_regression.errors import exit_on_user_error
from softmax_regression.figures import image_grid, learning_curve, printed_costs
from softmax_regression.images import ImageSet
from softmax_regression.parameters import TutorialParameters

FOLDER = Path("tutorial")


def main() -> None:
    parameters = TutorialParameters.read(FOLDER / "params.yaml")
    train, test = (ImageSet.load(Path(f"data/{name}.safetensors"), "mnist") for name in ("train", "test"))
    scratch, builtin, curve = (
        files.read_numbers(FOLDER / f"results/{stage}.csv") for stage in ("from_scratch", "builtin", "learning_curve")
    )
    model = json.loads((FOLDER / "results/from_scratch.json").read_text(encoding="utf-8"))["training"]
    names, predicted, actual = np.array(test.classes), np.array(model["predicted"]), test.labels[:10]
    titles = [
        f"predicted {guess}\nactual {label}" for guess, label in zip(names[predicted], names[actual], strict=True)
    ]

    images, seeds = parameters.article_images, parameters.article_seeds
    drawn = {
        "labels": image_grid(train.images[:25], names[train.labels[:25]], columns=5),
        "predictions": image_grid(test.images[:10], titles, columns=5, right=predicted == actual),
        "from_scratch": printed_costs(
            dict(zip(article.EPOCHS, article.COSTS_FROM_SCRATCH, strict=True)),
            {f"{images} test images": scratch["testing"], f"{images} training images": scratch["training"]},
        ),
        "builtin": printed_costs(
            dict(zip(article.EPOCHS, article.COSTS_BUILTIN, strict=True)),
            {f"median of {seeds} seeds": builtin["median"]},
            ("range", builtin["smallest"], builtin["largest"]),
        ),
        "learning_curve": learning_curve(
            curve.pop("size").astype(int),
            np.stack(list(curve.values()), axis=1),
            {f"the article's {images} images": (images, model["test_accuracy"])},
        ),
    }
    for name, figure in drawn.items():
        with files.replacing(FOLDER / f"{name}.png") as temporary:
            # Without the library's version in it, the picture changes only when what it shows does.
            figure.savefig(temporary, metadata={"Software": None})


if __name__ == "__main__":
    exit_on_user_error(main)
