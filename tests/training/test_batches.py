"""The order of the images, for few and for many."""

from itertools import chain

import pytest
import torch

from softmax_regression.model import exact
from softmax_regression.training import batches as module
from softmax_regression.training.batches import batches
from softmax_regression.training.share import ALONE, Share

COUNT = 1003
LABELS = torch.arange(1050)
IMAGES = torch.stack([LABELS % 256, LABELS // 256], dim=1).to(torch.uint8)


def order(batch_size: int, seed: int = 0, count: int = COUNT, share: Share = ALONE) -> list[list[int]]:
    """The numbers of the images in each batch, from the labels; the pixels must be of the same images."""
    found = []
    generator = torch.Generator().manual_seed(seed)
    for chunks, size in batches(IMAGES[:count], LABELS[:count], batch_size, generator, share):
        batch = []
        for pixels, labels in chunks:
            assert len(labels) <= exact.CHUNK_IMAGES
            assert pixels.equal(IMAGES[labels].double())
            batch += labels.tolist()
        assert size == len(batch) or share.workers > 1
        found.append(batch)
    return found


@pytest.fixture(params=["all at once", "in parts"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(exact, "CHUNK_IMAGES", 30)
    if request.param == "in parts":
        monkeypatch.setattr(module, "BLOCK_IMAGES", 50)
        monkeypatch.setattr(module, "WHOLE_BYTES", 2 * 150)
        monkeypatch.setattr(module, "PART_BYTES", 2 * 150)  # three blocks
    return str(request.param)


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("batch_size", [1, 7, 10, 50, 64, 1002])
def test_each_image_comes_once_in_batches_of_which_only_one_is_short(batch_size: int) -> None:
    found = order(batch_size)
    assert sorted(number for batch in found for number in batch) == list(range(COUNT))
    full, rest = divmod(COUNT, batch_size)
    assert sorted(map(len, found)) == sorted([batch_size] * full + [rest] * (rest > 0))


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("workers", [2, 3, 4])
@pytest.mark.parametrize("batch_size", [1, 7, 64, COUNT])
def test_the_workers_shares_are_the_batches_of_one_worker(batch_size: int, workers: int) -> None:
    shares = [order(batch_size, share=Share(rank, workers)) for rank in range(workers)]
    assert [sorted(chain(*parts)) for parts in zip(*shares, strict=True)] == [*map(sorted, order(batch_size))]


@pytest.mark.usefixtures("reading")
def test_the_order_is_the_generators() -> None:
    assert order(10, seed=1) == order(10, seed=1) != order(10, seed=2)


@pytest.mark.parametrize("reading", ["in parts"], indirect=True)
def test_a_part_is_a_shuffle_of_random_blocks(reading: str) -> None:
    assert reading == "in parts"
    numbers = [number for batch in order(10, count=1050) for number in batch]
    blocks = [[number // 50 for number in numbers[start : start + 150]] for start in range(0, 1050, 150)]
    assert [len(set(part)) for part in blocks] == [3] * 7
    assert blocks != sorted(blocks, key=min)  # not in the file's order
    assert all(len(set(part[:20])) > 1 for part in blocks)  # mixed within


def test_up_to_the_limit_the_order_is_one_permutation_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHOLE_BYTES", IMAGES.nbytes)
    generator = torch.Generator().manual_seed(0)
    assert order(10) == [rows.tolist() for rows in torch.randperm(COUNT, generator=generator).split(10)]


def test_a_batch_of_all_images_is_in_their_order() -> None:
    assert order(COUNT) == order(10**9) == [list(range(COUNT))]
