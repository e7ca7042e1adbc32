"""How test accuracy grows with the number of training images."""

from collections.abc import Iterator, Sequence

import torch

from softmax_regression.errors import UserError
from softmax_regression.images import ImageSet
from softmax_regression.model import SoftmaxRegression
from softmax_regression.training import Recipe, cost_and_accuracy, descend


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
    for size in sizes:
        yield size, [_test_accuracy(training, test, size, seed, init_std, recipe) for seed in range(seeds)]


def _test_accuracy(training: ImageSet, test: ImageSet, size: int, seed: int, init_std: float, recipe: Recipe) -> float:
    generator = torch.Generator().manual_seed(seed)
    drawn = training.take(torch.randperm(len(training), generator=generator)[:size].numpy())
    model = SoftmaxRegression.random(len(training.classes), training.pixels.shape[1], init_std, generator)
    for _ in descend(model, drawn, recipe, generator):
        pass
    _, accuracy = cost_and_accuracy(model, test)
    return accuracy
