"""Each member of a stack has the records and the bytes of a training of its own."""

import itertools
import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from alone import SETTING, VALIDATION, made_up, recipe_of

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet
from softmax_regression.model import exact
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.search.space import Setting
from softmax_regression.search.stack import Stack, train
from softmax_regression.training import loop
from softmax_regression.training.record import EpochRecord
from softmax_regression.training.state import TrainingState

Halves = tuple[ImageSet, ImageSet]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Halves:
    return ImageSet.load(made_up(tmp_path_factory.mktemp("images")).data).hold_out(VALIDATION)


def alone(setting: Setting, images: Halves) -> tuple[list[EpochRecord | None], TrainingState]:
    """As stages/train.py does; None follows the records where a UserError ends them."""
    generator = torch.Generator().manual_seed(setting.seed)
    model = SoftmaxRegression.random(images[0].model_shape, setting.init_std, generator)
    state = TrainingState.start(model.to(recipe_of(setting).dtype), generator)
    records: list[EpochRecord | None] = []
    try:
        with warnings.catch_warnings(action="ignore"):  # numpy's product tells of an overflow
            epochs = loop.train(state, *images, recipe_of(setting))
            while record := next(epochs, None):
                records.append(record)
    except UserError:
        records.append(None)
    return records, state


def begin(settings: Sequence[Setting], images: Halves) -> Stack:
    return Stack.start(range(len(settings)), settings, images[0].model_shape)


def run(stack: Stack, images: Halves, until: int = 4) -> dict[int, list[EpochRecord | None]]:
    """The records of each member; a warning fails."""
    found: dict[int, list[EpochRecord | None]] = {number: [] for number in stack.numbers}
    with warnings.catch_warnings(action="error"):
        for records in train(stack, *images, until):
            for number, record in records.items():
                found[number].append(record)
    return found


def contents(state: TrainingState, member: int | None = None) -> dict[str, bytes]:
    """All bytes of a state, or of one member of a stack's."""
    tensors = {name: tensor if member is None else tensor[member] for name, tensor in state.tensors().items()}
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


VARIED = [
    replace(SETTING, init_std=init_std, lr=lr, lr_schedule=lr_schedule, momentum=momentum, weight_decay=weight_decay)
    for init_std, lr, lr_schedule, momentum, weight_decay in itertools.product(
        (0.0, 0.5), (1e-300, 0.3, 1e3, 1e36), ("constant", "linear", "cosine"), (0.0, 0.9), (0.0, 0.01, 1.0)
    )
]


@pytest.mark.parametrize("batch_size", [60, 280, 1000])
def test_each_member_has_the_bytes_of_a_training_of_its_own(batch_size: int, images: Halves) -> None:
    settings = [replace(setting, batch_size=batch_size) for setting in VARIED]
    stack = begin(settings, images)
    found = run(stack, images)
    left = 0
    for number, setting in enumerate(settings):
        records, state = alone(setting, images)
        assert found[number] == records
        if records[-1] is None:
            left += 1
            assert number not in stack.numbers
        else:
            assert contents(stack.state, stack.numbers.index(number)) == contents(state)
            assert stack.state.generator.get_state().equal(state.generator.get_state())
    assert 40 < left < len(VARIED) - 40  # beside those that diverge, the others are unharmed
    assert {len(records) for records in found.values()} >= {1, 4}


def test_what_is_minus_0_alone_is_so_in_a_stack(images: Halves) -> None:
    # Beside one with decay, and at the pixel that is always 0 and has no gradient.
    settings = [replace(SETTING, init_std=0.0), replace(SETTING, init_std=0.0, weight_decay=0.1)]
    stack = begin(settings, images)
    run(stack, images)
    (first, second) = stack.state.model.weight[:, :, 0].signbit()
    assert first.any() and contents(stack.state, 0) == contents(alone(settings[0], images)[1])
    assert contents(stack.state, 1) == contents(alone(settings[1], images)[1])
    assert second.any()


def test_a_velocity_that_is_minus_0_at_a_pixel_of_few_batches_changes_no_weight() -> None:
    # A negative velocity without momentum, then a batch in which the pixel is blank.
    pixels = np.zeros((8, 1, 3), np.uint8)
    pixels[:, 0, 0], pixels[3, 0, 1] = 255, 200
    images = ImageSet(pixels, np.arange(8) % 2, ("a", "b"), "made-up", {})
    settings = [
        replace(SETTING, batch_size=2, init_std=init_std, momentum=momentum, weight_decay=weight_decay)
        for init_std in (0.0, 0.5)
        for momentum in (0.0, 0.5)
        for weight_decay in (0.0, 0.1)
    ]
    stack = begin(settings, (images, images))
    run(stack, (images, images))
    assert stack.state.velocity.weight[0, :, 1].signbit().any() and not stack.state.velocity.weight[0, :, 1].any()
    for member, setting in enumerate(settings):
        model = alone(setting, (images, images))[1].model
        assert stack.state.model.weight[member].numpy().tobytes() == model.weight.numpy().tobytes()


@pytest.mark.parametrize("chunk", [7, 10_000])
def test_chunks_change_no_bit(chunk: int, images: Halves, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [replace(SETTING, batch_size=100, lr=lr, weight_decay=0.01) for lr in (0.1, 0.5)]
    whole = begin(settings, images)
    expected = run(whole, images)
    monkeypatch.setattr(exact, "CHUNK_IMAGES", chunk)
    cut = begin(settings, images)
    assert run(cut, images) == expected
    assert contents(cut.state) == contents(whole.state)


def test_training_in_two_parts_beside_one_who_leaves_has_the_bytes_of_one(images: Halves) -> None:
    settings = [replace(SETTING, lr=lr, lr_schedule="cosine") for lr in (0.1, 0.2, 0.4)]
    whole, parted = begin(settings, images), begin(settings, images)
    expected = run(whole, images)
    first = run(parted, images, until=1)
    assert parted.state.epochs_done == 1 and {len(records) for records in first.values()} == {1}
    parted.remove([1, 7])
    second = run(parted, images)
    assert parted.numbers == [0, 2]
    assert {number: first[number] + records for number, records in second.items()} == {0: expected[0], 2: expected[2]}
    for place, number in enumerate(parted.numbers):
        assert contents(parted.state, place) == contents(whole.state, number)


def test_once_all_have_diverged_the_training_ends(images: Halves) -> None:
    setting = replace(SETTING, lr=1e36, weight_decay=1.0)
    stack = begin([setting, setting], images)
    found = run(stack, images)
    assert found[0] == found[1] == alone(setting, images)[0]
    assert stack.numbers == [] and stack.state.epochs_done == len(found[0]) < 4
