"""Pixels, scattering, and a convolutional network on the same images: the table and the pictures of docs/features.md.

`make bench` runs it with the folder `tests` on the path, whose clone.py makes a clone for it. Of its twenty minutes the
network takes all but two.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from clone import Clone
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tables import fill
from torch import Tensor, nn
from torch.nn import functional

from softmax_regression.data.images import ImageSet
from softmax_regression.features import filters
from softmax_regression.features.scattering import STRIDE, Scattering
from softmax_regression.results.figures import save
from softmax_regression.results.statistics import wilson_interval, with_interval

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
HEADER = ("", "validation", "test (95 %)", "numbers an image", "seconds", "the same accuracy on validation after")
EPOCHS, BATCH, MEASURED_WITH = 14, 64, 1000


def main() -> None:
    """Measure, draw, and write the table into the page."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Clone(Path(folder) / "clone")
        clone.take_data()
        rows = [through_pipeline(clone, "pixels")]
        rows.append(through_pipeline(clone, "scattering", "features=scattering", "figure_mistakes=100"))
        wanted = json.loads((clone.folder / "metrics/valid.json").read_text())["accuracy"]
        for name in ("weights", "misclassified"):
            shutil.copy(clone.folder / f"figures/{name}.png", DOCS / f"scattering-{name}.png")
        train, test = (ImageSet.load(clone.folder / f"data/{name}.safetensors") for name in ("train", "test"))
        draw_filters()
        draw_coefficients(train.images[0])
        rows.append(through_network(*train.hold_out(0.1), test, wanted))
    fill(DOCS / "features.md", HEADER, rows)


def through_pipeline(clone: Clone, name: str, *settings: str) -> list[str]:
    """A whole experiment, DVC's start and the pictures included."""
    began = time.monotonic()
    clone.run("dvc", "exp", "run", *(part for setting in settings for part in ("-S", setting)))
    seconds = time.monotonic() - began
    valid, test = (json.loads((clone.folder / f"metrics/{part}.json").read_text()) for part in ("valid", "test"))
    images, features = (clone.folder / f"{room}/test.safetensors" for room in ("data", "features"))
    count = ImageSet.load(images).with_features(features if settings else None).rows.shape[1]
    interval = with_interval(test["accuracy"], test["accuracy_low"], test["accuracy_high"])
    print(name, seconds, valid["accuracy"], interval, flush=True)
    return [name, f"{valid['accuracy']:.4f}", interval, f"{count:,}", f"{seconds:.0f}", ""]


def network() -> nn.Sequential:
    """The network of pytorch/examples' MNIST program: two convolutions, 1.2 million weights."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)),
        *(nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)),
    )


def through_network(training: ImageSet, validation: ImageSet, test: ImageSet, wanted: float) -> list[str]:
    """Trained as that program does; the seconds are those of its training alone, its data in memory."""
    torch.manual_seed(0)
    torch.set_num_threads(2)
    model = network()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    seconds, reached = 0.0, "never"
    for epoch in range(1, EPOCHS + 1):
        began = time.monotonic()
        model.train()
        for rows in torch.randperm(len(training)).split(BATCH):
            optimizer.zero_grad()
            pixels, labels = scaled(training.images[rows.numpy()]), torch.from_numpy(training.labels[rows.numpy()])
            functional.cross_entropy(model(pixels), labels).backward()
            optimizer.step()
        schedule.step()
        seconds += time.monotonic() - began
        accuracy = right(model, validation).mean()
        print(f"network, epoch {epoch}: {seconds:.0f} s, validation {accuracy:.4f}", flush=True)
        if accuracy >= wanted and reached == "never":
            reached = f"{seconds:.0f} s, {epoch} epochs"
    hits = right(model, test)
    low, high = wilson_interval(np.array([hits.sum()]), np.array([len(hits)]))
    interval = with_interval(hits.mean(), float(low[0]), float(high[0]))
    name = f"convolutional network, {EPOCHS} epochs"
    return [name, f"{right(model, validation).mean():.4f}", interval, "784", f"{seconds:.0f}", reached]


def scaled(images: np.ndarray) -> Tensor:
    """With the mean and the deviation that the program has for MNIST's pixels."""
    return (torch.from_numpy(images).float().div_(255) - 0.1307).div_(0.3081).unsqueeze(1)


@torch.no_grad()
def right(model: nn.Module, images: ImageSet) -> np.ndarray:
    """Which images the network knows, bool [N]."""

    def predicted() -> Iterator[Tensor]:
        for start in range(0, len(images), MEASURED_WITH):
            yield model(scaled(images.images[start : start + MEASURED_WITH])).argmax(1)

    model.eval()
    return torch.cat(list(predicted())).numpy() == images.labels


def draw_filters() -> None:
    """The wavelets' real parts, a row a scale and a column an angle, each on a scale of its own."""
    figure = Figure(figsize=(9, 2.5), layout="constrained")
    for row, scale in zip(figure.subplots(filters.SCALES, filters.ANGLES), range(filters.SCALES), strict=True):
        for axes, wavelet in zip(row, filters.wavelets(scale)[0], strict=True):
            limit = np.abs(wavelet).max()
            axes.imshow(wavelet, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.set(xticks=[], yticks=[])
    save(figure, DOCS / "scattering-filters.png")


def draw_coefficients(image: np.ndarray) -> None:
    """An image; its coefficients of order 0 and 1, a row a scale; and of order 2, where they are many."""
    zeroth, first, second = (order[..., 0] for order in Scattering.of(*image.shape).orders(image[None]))
    height, width = (-(-side // STRIDE) for side in image.shape)
    figure = Figure(figsize=(9, 9.6), layout="constrained")
    above, below = cast("list[Any]", figure.subfigures(2, 1, height_ratios=(1, 3.4)))
    grid = above.subplots(filters.SCALES, filters.ANGLES + 1)
    show(grid[0, 0], 255 - image, "the image", cmap="gray")
    show(grid[1, 0], zeroth.reshape(height, width), "order 0")
    for scale in range(filters.SCALES):
        for angle in range(filters.ANGLES):
            title = f"order 1, {'fine' if scale == 0 else 'coarse'}" if angle == 0 else ""
            show(grid[scale, angle + 1], first[:, scale, angle].reshape(height, width), title, vmax=first.max())
    for coarse, row in enumerate(below.subplots(filters.ANGLES, filters.ANGLES)):
        for fine, axes in enumerate(row):
            title = "order 2" if coarse == fine == 0 else ""
            show(axes, second[:, coarse, fine].reshape(height, width), title, vmax=second.max())
    save(figure, DOCS / "scattering-coefficients.png")


def show(axes: Axes, values: np.ndarray, title: str, cmap: str = "gray_r", vmax: float | None = None) -> None:
    """Draw small numbers as pixels."""
    axes.imshow(values, cmap=cmap, vmin=0, vmax=vmax)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=8, loc="left")


if __name__ == "__main__":
    main()
