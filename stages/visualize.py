"""Draw the samples, the predictions, the worst mistakes, the weights, the confusion matrix and the cost curves."""

from pathlib import Path

import numpy as np

from softmax_regression import files, predictions, weights
from softmax_regression.errors import exit_on_user_error
from softmax_regression.evaluation import confusion_counts, most_confident_mistakes
from softmax_regression.figures import confusion_matrix, cost_curves, image_grid, weight_images
from softmax_regression.images import ImageSet
from softmax_regression.journal import recording
from softmax_regression.parameters import Parameters

MODEL = Path("models/softmax.safetensors")


def main() -> None:
    parameters = Parameters.read(Path("params.yaml"))
    with recording("visualize", MODEL) as event:
        train, test = (ImageSet.load(Path(f"data/{name}.safetensors")) for name in ("train", "test"))
        names = np.array(test.classes)
        predicted, probability = predictions.read(Path("metrics/predictions.csv"), test)
        right = predicted == test.labels
        pairs = zip(names[predicted], names[test.labels], strict=True)
        titles = np.array([f"predicted {guess}\nactual {label}" for guess, label in pairs])
        mistakes = most_confident_mistakes(right, probability, parameters.figure_mistakes)
        costs = files.read_numbers(Path("metrics/costs.csv"), ("epoch", "train_cost", "valid_cost", "valid_accuracy"))
        weight = weights.read(MODEL, (len(test.classes), test.pixels.shape[1]))[0]

        drawn = {
            "samples": image_grid(train.images[:25], names[train.labels[:25]], columns=5),
            "predictions": image_grid(test.images[:10], titles[:10], columns=5, right=right[:10]),
            "misclassified": image_grid(test.images[mistakes], titles[mistakes], columns=5, right=right[mistakes]),
            "weights": weight_images(weight, test.images.shape[1:], test.classes),
            "confusion": confusion_matrix(confusion_counts(test.labels, predicted, len(names)), test.classes),
            "costs": cost_curves(costs),
        }

        for name, figure in drawn.items():
            path = Path(f"figures/{name}.png")
            with files.replacing(path) as temporary:
                # Without the library's version in it, the picture changes only when what it shows does.
                figure.savefig(temporary, dpi=parameters.figure_dpi, metadata={"Software": None})
            event.keep(path, "figures")


if __name__ == "__main__":
    exit_on_user_error(main)
