from collections.abc import Iterable
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from clone import ROOT
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet
from softmax_regression.model.arithmetic import choose_device
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.training import steps
from softmax_regression.training.batches import Batch, batches
from softmax_regression.training.loop import cost_and_accuracy, descend, fit, train
from softmax_regression.training.recipe import Recipe, learning_rate
from softmax_regression.training.state import TrainingState

IMPLEMENTATIONS = ("scratch", "builtin")
# A batch size that does not divide the 23 images.
PLAIN = Recipe("scratch", lr=0.5, lr_schedule="constant", epochs=4, batch_size=5, momentum=0.0, weight_decay=0.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def started(images: ImageSet, seed: int = 0, recipe: Recipe = PLAIN) -> SoftmaxRegression:
    model = SoftmaxRegression.random(images.model_shape, 0.5, seeded(seed), bias_bound=0.5)
    return model.to(recipe.dtype)


def begin(model: SoftmaxRegression, seed: int = 0) -> TrainingState:
    return TrainingState.start(model, seeded(seed))


def costs(epochs: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(epochs))


class Recorder:
    """Steps nowhere; keeps each batch's labels and rate, and gives the sum of the labels as the cost."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.pixels: list[list[float]] = []
        self.rates: list[float] = []

    def __call__(self, batch: Batch, lr: float) -> Tensor:
        ((pixels, labels),) = batch.chunks
        self.batches.append(labels.tolist())
        self.pixels.append(pixels[:, 0].tolist())
        self.rates.append(lr)
        return labels.double().sum()


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setitem(steps.STEPS, "scratch", lambda *_: recorder)
    return recorder


@pytest.fixture
def numbered() -> ImageSet:
    """23 images of one pixel, whose value is also their label."""
    numbers = np.arange(23)
    return ImageSet(numbers.astype(np.uint8).reshape(23, 1, 1), numbers, tuple(map(str, numbers)), "numbered", {})


@pytest.mark.parametrize("chunk", [7, 3])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_step_goes_down_the_gradient_that_automatic_differentiation_finds(implementation: str, chunk: int) -> None:
    generator = seeded()
    pixels = torch.randint(0, 256, (7, 6), generator=generator).double()
    labels = torch.tensor([0, 3, 2, 2, 1, 3, 0])
    weight = torch.randn(4, 6, dtype=torch.float64, generator=generator)
    bias = torch.randn(4, dtype=torch.float64, generator=generator)
    model = SoftmaxRegression(weight.clone(), bias.clone())
    batch = Batch(zip(pixels.clone().split(chunk), labels.split(chunk), strict=True), 7)
    cost = steps.STEPS[implementation](begin(model), 0.0, 0.0)(batch, 1.0)

    weight.requires_grad_()
    bias.requires_grad_()
    expected = functional.cross_entropy(pixels / 255 @ weight.T + bias, labels)
    expected.backward()
    assert weight.grad is not None and bias.grad is not None
    torch.testing.assert_close(cost / 7, expected.detach(), rtol=0, atol=1e-8)  # a cost's grid for 7 images: 2^-29
    torch.testing.assert_close(weight.detach() - model.weight, weight.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(bias.detach() - model.bias, bias.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lr_schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize(("momentum", "weight_decay"), [(0.0, 0.0), (0.9, 0.0), (0.0, 0.1), (0.9, 0.01)])
@pytest.mark.parametrize("batch_size", [1, 5, 22, 100])
def test_scratch_and_builtin_give_the_same_costs_and_weights(
    lr_schedule: str, momentum: float, weight_decay: float, batch_size: int, small: ImageSet
) -> None:
    found = []
    for implementation in IMPLEMENTATIONS:
        recipe = Recipe(implementation, 0.1, lr_schedule, 4, batch_size, momentum, weight_decay)
        model = started(small, recipe=recipe)
        found.append((costs(descend(begin(model, 1), small, recipe)), model.weight, model.bias))
    for scratch, builtin in zip(*found, strict=True):
        torch.testing.assert_close(scratch, builtin, rtol=0, atol=1e-5, check_dtype=False)
    assert found[0][0].unique().numel() == 4  # it did learn, so the costs could have differed


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_stack_trains_as_each_of_its_models_alone(implementation: str, small: ImageSet) -> None:
    recipe = Recipe(implementation, 0.3, "cosine", 4, 5, 0.9, 0.01)
    alone = [started(small, seed, recipe) for seed in range(3)]
    stacked = SoftmaxRegression.stack(alone)
    alone_costs = [costs(descend(begin(model, 1), small, recipe)) for model in alone]
    stacked_costs = costs(descend(begin(stacked, 1), small, recipe))
    expected = SoftmaxRegression.stack(alone)
    tolerance = 0 if implementation == "scratch" else 1e-6
    torch.testing.assert_close(stacked_costs, torch.stack(alone_costs, dim=1), rtol=0, atol=tolerance)
    torch.testing.assert_close(stacked.weight, expected.weight, rtol=0, atol=tolerance)
    torch.testing.assert_close(stacked.bias, expected.bias, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("chunk", "seed"), [(23, 1), (7, 2), (1, 3)])
def test_neither_the_order_of_a_batch_nor_its_chunks_change_a_bit(chunk: int, seed: int, small: ImageSet) -> None:
    pixels, labels = torch.from_numpy(small.pixels).double(), torch.from_numpy(small.labels)
    found = []
    for rows in (torch.arange(23), torch.randperm(23, generator=seeded(seed))):
        model = started(small)
        step = steps.scratch_step(begin(model), momentum=0.9, weight_decay=0.01)
        for _ in range(3):
            chunks = zip(pixels[rows].split(chunk), labels[rows].split(chunk), strict=True)
            cost = step(Batch(chunks, 23), 0.3)
        found.append((model.weight, model.bias, cost.clone()))
        chunk = 23 if chunk == 1 else chunk
    assert all(first.equal(second) for first, second in zip(*found, strict=True))


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_descent_ends_where_scikit_learn_does(implementation: str) -> None:
    labels = np.arange(90) % 3
    brightness = np.random.default_rng(0).normal(64 * labels[:, None, None] + np.array([[0, 60]]), 60)
    images = ImageSet(brightness.clip(0, 255).astype(np.uint8), labels, ("a", "b", "c"), "overlapping", {})
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(images.pixels / 255, labels)
    probabilities = fitted.predict_proba(images.pixels / 255)
    best = -np.log(probabilities[np.arange(90), labels]).mean()
    assert best > 0.5  # the classes cannot be separated, so there is a lowest cost to end at

    recipe = replace(PLAIN, implementation=implementation, lr=2.0, epochs=500, batch_size=90, momentum=0.9)
    model = started(images, recipe=recipe)
    *_, reached = descend(begin(model), images, recipe)
    assert reached.item() == pytest.approx(best, abs=1e-6)
    found = model.log_probabilities(torch.from_numpy(images.pixels)).exp()
    np.testing.assert_allclose(found, probabilities, atol=1e-5)


def test_momentum_repeats_its_share_of_the_last_step_and_decay_pulls_to_0() -> None:
    model = SoftmaxRegression(torch.zeros(2, 1), torch.tensor([1.0, 1.0])).to(torch.float64)
    step = steps.scratch_step(begin(model), momentum=0.5, weight_decay=0.1)
    # Pixels of 0 and labels in balance: the cost has no gradient, only the decay moves the bias.
    pixels, labels = torch.zeros(2, 1, dtype=torch.float64), torch.tensor([0, 1])
    step(Batch(iter([(pixels, labels)]), 2), 1.0)
    torch.testing.assert_close(model.bias, torch.full((2,), 0.9, dtype=torch.float64))  # 1 - 0.1 · 1
    step(Batch(iter([(pixels, labels)]), 2), 1.0)
    torch.testing.assert_close(model.bias, torch.full((2,), 0.76, dtype=torch.float64))  # 0.9 - (0.5 · 0.1 + 0.1 · 0.9)


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("constant", {0: 1, 0.3: 1, 1: 1}),
        ("linear", {0: 1, 0.25: 0.75, 0.5: 0.5, 1: 0}),
        ("cosine", {0: 1, 1 / 3: 0.75, 0.5: 0.5, 2 / 3: 0.25, 1: 0}),
    ],
)
def test_learning_rates_follow_their_closed_forms(schedule: str, shares: dict[float, float]) -> None:
    for progress, share in shares.items():
        assert learning_rate(0.2, schedule, progress) == pytest.approx(0.2 * share, abs=1e-15)


def test_the_learning_rate_goes_on_with_each_step_from_the_first_to_the_last(
    numbered: ImageSet, recorder: Recorder
) -> None:
    model = started(numbered)
    list(descend(begin(model), numbered, replace(PLAIN, lr_schedule="linear", lr=2.0)))
    assert recorder.rates == pytest.approx([2 * (1 - step / 20) for step in range(20)])  # 4 epochs of 5 steps


def test_each_epoch_covers_each_image_once_in_an_order_of_its_own(numbered: ImageSet, recorder: Recorder) -> None:
    list(descend(begin(started(numbered)), numbered, PLAIN))
    assert [len(batch) for batch in recorder.batches] == [5, 5, 5, 5, 3] * 4
    assert recorder.batches == recorder.pixels  # labels stay with their images
    orders = [list(chain.from_iterable(recorder.batches[start : start + 5])) for start in range(0, 20, 5)]
    assert all(sorted(order) == list(range(23)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4


def test_the_order_depends_on_the_seed_alone(numbered: ImageSet, recorder: Recorder) -> None:
    for seed in (0, 0, 1):
        list(descend(begin(started(numbered), seed), numbered, PLAIN))
    assert recorder.batches[:20] == recorder.batches[20:40] != recorder.batches[40:]


@pytest.mark.parametrize("batch_size", [23, 10**9])
def test_a_batch_that_holds_all_images_is_not_shuffled(batch_size: int, numbered: ImageSet, recorder: Recorder) -> None:
    list(descend(begin(started(numbered)), numbered, replace(PLAIN, batch_size=batch_size)))
    assert recorder.batches == [list(range(23))] * 4


@pytest.mark.usefixtures("recorder")
def test_the_cost_of_an_epoch_is_the_mean_over_the_images_not_over_the_batches(numbered: ImageSet) -> None:
    found = costs(descend(begin(started(numbered)), numbered, PLAIN))
    torch.testing.assert_close(found, torch.full((4,), 11.0, dtype=torch.float64))  # (0 + … + 22) / 23


def test_from_zeros_the_first_cost_is_the_logarithm_of_the_number_of_classes(numbered: ImageSet) -> None:
    ten = replace(numbered.part(0, 10), classes=tuple("0123456789"))
    model = SoftmaxRegression(torch.zeros(10, 1), torch.zeros(10)).to(torch.float64)
    first = next(train(begin(model), ten, ten, replace(PLAIN, batch_size=10)))
    assert first.train_cost == pytest.approx(2.302585, abs=5e-7)
    assert first.valid_cost < 2.302585  # taken after the update


def test_records_number_the_epochs_and_hold_the_figures_after_each(small: ImageSet) -> None:
    training_images, validation = small.hold_out(0.3)
    model = started(small)
    for epoch, record in enumerate(train(begin(model), training_images, validation, PLAIN)):
        assert record.epoch == epoch
        assert (record.valid_cost, record.valid_accuracy) == cost_and_accuracy(model, validation)
        expected = functional.cross_entropy(
            model.logits(torch.from_numpy(validation.pixels).double()), torch.from_numpy(validation.labels)
        )
        assert record.valid_cost == pytest.approx(expected.item(), abs=1e-6)
    assert epoch == 3


def test_accuracy_is_the_share_of_right_predictions() -> None:
    images = ImageSet(
        np.array([[[255]], [[255]], [[0]], [[255]]], np.uint8), np.array([1, 0, 0, 1]), ("a", "b"), "x", {}
    )
    model = SoftmaxRegression(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.5, 0.0]))
    assert cost_and_accuracy(model, images)[1] == 0.75


def test_fit_trains_as_the_pipeline_does(small: ImageSet) -> None:
    recipe = Recipe(epochs=3, batch_size=7)
    generator = torch.Generator().manual_seed(4)
    state = TrainingState.start(SoftmaxRegression.random(small.model_shape, 0.01, generator), generator)
    for _ in descend(state, small, recipe):
        pass
    assert fit(small, recipe, seed=4).weight.equal(state.model.weight)


def test_a_recipe_that_cannot_be_trained_is_refused() -> None:
    for wrong in ({"lr_schedule": "cosin"}, {"implementation": "torch"}, {"epochs": 0}, {"batch_size": 0}):
        with pytest.raises(UserError, match=rf"^Recipe\(.*{next(iter(wrong))}={next(iter(wrong.values()))!r}"):
            Recipe(**wrong)


def test_fit_refuses_to_return_a_model_that_has_diverged(small: ImageSet) -> None:
    with pytest.raises(UserError, match=r"^epoch \d: the cost is no longer finite with lr = 1e\+36; lower it$"):
        fit(small, Recipe(lr=1e36, weight_decay=1.0, epochs=5))


def test_a_recipe_is_params_yamls_unless_told_otherwise() -> None:
    assert Recipe.of(yaml.safe_load((ROOT / "params.yaml").read_text())) == Recipe()


def test_a_cost_that_runs_away_is_told_with_its_epoch_and_learning_rate(small: ImageSet) -> None:
    epochs = train(begin(started(small)), small, small, replace(PLAIN, lr=10.0, weight_decay=1.0, epochs=100))
    with pytest.raises(UserError, match=r"^epoch [1-9]\d?: the cost is no longer finite with lr = 10\.0; lower it$"):
        list(epochs)


def test_a_cost_that_only_the_last_update_ruins_is_told_too(small: ImageSet) -> None:
    epochs = train(begin(started(small)), small, small, replace(PLAIN, lr=1e38, epochs=1, batch_size=23))
    with pytest.raises(UserError, match=r"^epoch 0: "):
        list(epochs)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_equal_seeds_give_equal_bytes_and_others_do_not(implementation: str, small: ImageSet, tmp_path: Path) -> None:
    for name, seed in (("first", 0), ("second", 0), ("other", 1)):
        recipe = replace(PLAIN, implementation=implementation, momentum=0.9)
        model = started(small, recipe=recipe)
        list(descend(begin(model, seed), small, recipe))
        model.save(tmp_path / name)
    first, second, other = ((tmp_path / name).read_bytes() for name in ("first", "second", "other"))
    assert first == second != other


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("models", [1, 3])
def test_a_descent_in_two_parts_has_the_bits_of_one(implementation: str, models: int, small: ImageSet) -> None:
    recipe = Recipe(implementation, 0.3, "cosine", 7, 5, 0.9, 0.01)

    def stack() -> SoftmaxRegression:
        return SoftmaxRegression.stack([started(small, seed, recipe) for seed in range(models)])

    whole, parted = stack(), stack()
    expected = costs(descend(begin(whole, 1), small, recipe))
    state = begin(parted, 1)
    first_part = list(islice(descend(state, small, recipe), 3))
    assert state.epochs_done == 3
    second_part = list(descend(state, small, recipe))
    assert costs(first_part + second_part).equal(expected)
    assert parted.weight.equal(whole.weight) and parted.bias.equal(whole.bias)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_velocities_of_0_give_the_bits_of_an_optimizer_that_starts_without(momentum: float, small: ImageSet) -> None:
    recipe = replace(PLAIN, implementation="builtin", momentum=momentum, weight_decay=0.01)
    model = started(small, recipe=recipe)
    weight, bias = nn.Parameter(model.weight.clone()), nn.Parameter(model.bias.clone())
    list(descend(begin(model, 1), small, recipe))

    optimizer = torch.optim.SGD([weight, bias], lr=recipe.lr, momentum=momentum, weight_decay=0.01)
    generator = seeded(1)
    for _ in range(recipe.epochs):
        images, labels = torch.from_numpy(small.pixels), torch.from_numpy(small.labels)
        for batch in batches(images, labels, recipe.batch_size, generator, dtype=torch.float32):
            ((pixels, targets),) = batch.chunks
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(functional.linear(pixels / 255, weight, bias), targets).backward()
            optimizer.step()
    assert model.weight.equal(weight) and model.bias.equal(bias)


@pytest.mark.parametrize(
    ("name", "available", "chosen"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_auto_is_cuda_where_there_is_one(
    name: str, available: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert choose_device(name).type == chosen


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_gpu_repeats_its_bits_and_gives_the_cpus_exactly_from_scratch(
    implementation: str, small: ImageSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    recipe = Recipe(implementation, 0.3, "cosine", 4, 5, 0.9, 0.01)
    cpu_model = started(small, recipe=recipe)
    expected = costs(descend(begin(cpu_model, 1), small, recipe))
    device = choose_device("cuda")
    torch.use_deterministic_algorithms(implementation == "builtin")
    try:
        models = [started(small, recipe=recipe).to(device) for _ in range(2)]
        found = [costs(descend(begin(model, 1), small, recipe)) for model in models]
    finally:
        torch.use_deterministic_algorithms(False)
    assert found[0].equal(found[1]) and models[0].weight.equal(models[1].weight)
    torch.testing.assert_close(found[0].cpu(), expected, rtol=0, atol=0 if implementation == "scratch" else 1e-5)
    if implementation == "scratch":
        assert models[0].weight.cpu().equal(cpu_model.weight) and models[0].bias.cpu().equal(cpu_model.bias)


def test_cuda_that_is_missing_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="device = cuda: this machine has no usable CUDA device; set device to"):
        choose_device("cuda")
