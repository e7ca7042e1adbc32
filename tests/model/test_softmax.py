import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet
from softmax_regression.model import exact
from softmax_regression.model.cost import cross_entropy, cross_entropy_one_hot
from softmax_regression.model.softmax import SoftmaxRegression, softmax

Cost = Callable[[Tensor, Tensor], Tensor]
COSTS: tuple[Cost, ...] = (cross_entropy, cross_entropy_one_hot)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_softmax_exponentiates_and_divides_by_the_sum() -> None:
    logits = torch.tensor([[math.log(1), math.log(2), math.log(5)]])
    torch.testing.assert_close(softmax(logits), torch.tensor([[0.125, 0.25, 0.625]], dtype=torch.float64))


def test_each_row_of_probabilities_sums_to_1() -> None:
    probabilities = softmax(torch.randn(3, 5, generator=seeded()) * 5)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-15)
    assert probabilities.min() > 0


def test_softmax_of_large_logits_does_not_overflow() -> None:
    logits = torch.tensor([[1000.0, 999.0, -1000.0], [-1000.0, -1000.0, -1000.0]])
    expected = torch.tensor([[1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0.0], [1 / 3] * 3], dtype=torch.float64)
    torch.testing.assert_close(softmax(logits), expected, rtol=0, atol=1e-14)
    # Far from the largest logit the probability is 0 on the grid, its logarithm still right.
    assert exact.log_softmax(logits.double())[0][0, 2].item() == pytest.approx(-2000 - math.log1p(math.exp(-1)))


@pytest.mark.parametrize("cost", COSTS)
def test_cross_entropy_of_the_textbook_example(cost: Cost) -> None:
    probabilities = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.5, 0.2]])
    assert cost(probabilities.log(), torch.tensor([0, 1])).item() == pytest.approx(1.4978661367769954, abs=1e-6)


@pytest.mark.parametrize("cost", COSTS)
def test_cross_entropy_is_pytorchs_for_each_of_the_stacked_models(cost: Cost) -> None:
    logits, labels = torch.randn(2, 7, 5, generator=seeded(), dtype=torch.float64), torch.tensor([0, 4, 2, 2, 1, 3, 0])
    expected = torch.stack([functional.cross_entropy(logits[model], labels) for model in range(2)])
    torch.testing.assert_close(cost(exact.log_softmax(logits)[0], labels), expected, rtol=0, atol=1e-8)


def test_logits_are_scaled_pixels_times_weights_plus_bias() -> None:
    model = SoftmaxRegression(torch.tensor([[1.0, 2.0], [3.0, -4.0], [0.0, 0.5]]), torch.tensor([0.5, 0.0, -1.0]))
    found = model.logits(torch.tensor([[255.0, 127.5]], dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([[2.5, 1.0, -0.75]], dtype=torch.float64), rtol=0, atol=1e-12)


def test_log_probabilities_are_taken_of_scaled_pixels() -> None:
    model = SoftmaxRegression(torch.tensor([[math.log(3)], [0.0]]), torch.zeros(2))
    found = model.log_probabilities(torch.tensor([[255], [0]], dtype=torch.uint8)).exp()
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=torch.float64), rtol=0, atol=1e-7)


def test_a_stack_computes_what_each_of_its_models_does() -> None:
    models = [SoftmaxRegression.random((4, 6), 1.0, seeded(seed), bias_bound=1.0) for seed in range(3)]
    pixels = torch.randint(0, 256, (5, 6), generator=seeded()).double()
    stacked = SoftmaxRegression.stack(models).logits(pixels)
    assert stacked.shape == (3, 5, 4)
    assert stacked.equal(torch.stack([model.logits(pixels) for model in models]))


def test_random_weights_have_the_standard_deviation_and_the_bias_its_bound() -> None:
    model = SoftmaxRegression.random((100, 100), 0.01, seeded(), bias_bound=0.5)
    assert model.weight.shape == (100, 100) and model.bias.shape == (100,)
    assert model.weight.std().item() == pytest.approx(0.01, rel=0.03)
    assert model.weight.mean().item() == pytest.approx(0, abs=5e-4)
    assert 0.4 < model.bias.max() <= 0.5 and -0.5 <= model.bias.min() < -0.4


def test_equal_seeds_give_equal_weights_whatever_the_bias() -> None:
    first, second = (
        SoftmaxRegression.random((3, 4), 1.0, seeded()),
        SoftmaxRegression.random((3, 4), 1.0, seeded(), 0.5),
    )
    assert torch.equal(first.weight, second.weight)
    assert not torch.equal(first.weight, SoftmaxRegression.random((3, 4), 1.0, seeded(1)).weight)
    assert torch.equal(first.bias, torch.zeros(3, dtype=torch.float64))


def test_a_standard_deviation_of_0_starts_from_zeros() -> None:
    assert torch.equal(SoftmaxRegression.random((3, 4), 0.0, seeded()).weight, torch.zeros(3, 4, dtype=torch.float64))


def test_a_saved_model_comes_back(tmp_path: Path) -> None:
    model = SoftmaxRegression.random((3, 4), 1.0, seeded(), bias_bound=0.5)
    model.save(tmp_path / "softmax.safetensors")
    loaded = SoftmaxRegression.load(tmp_path / "softmax.safetensors")
    assert loaded.weight.equal(model.weight.float().double()) and loaded.bias.equal(model.bias.float().double())


def test_what_is_not_a_model_is_refused(small: ImageSet, tmp_path: Path) -> None:
    small.save(tmp_path / "train.safetensors")
    with pytest.raises(UserError, match=r"train\.safetensors: not a model"):
        SoftmaxRegression.load(tmp_path / "train.safetensors")


@pytest.mark.parametrize(
    ("images", "what"),
    [
        (torch.rand(2, 6), r"float32 \[2, 6\]"),
        (torch.zeros(2, 7, dtype=torch.uint8), r"uint8 \[2, 7\]"),
        (torch.zeros(2, 2, 3, dtype=torch.uint8), r"uint8 \[2, 2, 3\]"),
    ],
)
def test_images_of_another_kind_are_refused(images: torch.Tensor, what: str) -> None:
    model = SoftmaxRegression(torch.zeros(3, 6).double(), torch.zeros(3).double())
    with pytest.raises(UserError, match=rf"^images are {what}, must be uint8 \[N, 6\], 0 the background and 255 "):
        model.log_probabilities(images)
