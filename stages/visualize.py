"""Draw samples, predictions, the worst mistakes, weights, confusions, reliability, cost curves, a page to draw on."""

from pathlib import Path

import numpy as np

from softmax_regression.base import files
from softmax_regression.base.errors import UserError
from softmax_regression.base.running import run
from softmax_regression.data import weights
from softmax_regression.data.images import ImageSet
from softmax_regression.data.parameters import Parameters
from softmax_regression.drawing import page
from softmax_regression.results import figures
from softmax_regression.results.evaluation import UNSURE, confusion_counts, most_confident_mistakes, read_predictions
from softmax_regression.tracking.journal import recording

MODEL, PAGE = Path("models/softmax.safetensors"), Path("figures/draw.html")


def main() -> None:
    parameters = Parameters.read(Path("params.yaml"))
    with recording("visualize", MODEL) as event:
        train, test = (ImageSet.load(Path(f"data/{name}.safetensors")) for name in ("train", "test"))
        predicted, probability = read_predictions(Path("metrics/predictions.csv"), test)
        right = predicted == test.labels
        names = np.array(test.classes)
        titles = np.array(figures.prediction_titles(names[predicted], names[test.labels]))
        mistakes = most_confident_mistakes(right, probability, parameters.figure_mistakes)
        costs = files.read_numbers(Path("metrics/costs.csv"), ("epoch", "train_cost", "valid_cost", "valid_accuracy"))
        weight, bias, origin = weights.read_whole(MODEL)
        if (origin.image_size, origin.classes) != (test.image_size, test.classes):
            raise UserError(f"{MODEL}: a model of other images: run dvc repro train")
        draw_weights = figures.weight_images if origin.standardisation is None else figures.feature_weights
        shows = test.preparation.shows

        drawn = {
            "samples": figures.image_grid(train.images[:25], names[train.labels[:25]], shows=shows),
            "predictions": figures.image_grid(test.images[:10], titles[:10], right[:10], shows),
            "misclassified": figures.image_grid(test.images[mistakes], titles[mistakes], right[mistakes], shows),
            "weights": draw_weights(weight, test.image_size, test.classes),
            "confusion": figures.confusion_matrix(confusion_counts(test.labels, predicted, len(names)), test.classes),
            "reliability": figures.reliability(probability, right),
            "costs": figures.cost_curves(costs),
        }
        for name, figure in drawn.items():
            path = Path(f"figures/{name}.png")
            figures.save(figure, path, parameters.figure_dpi)
            event.keep(path, "artifacts/figures")
        files.write_text(PAGE, page.render(weight, bias, origin, UNSURE))
        event.keep(PAGE, "artifacts/figures")


if __name__ == "__main__":
    run(main)
