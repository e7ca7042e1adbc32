"""Classifies the test images redrawn as people's pictures, with and without preparation: docs/preparation.md.

`make bench` runs it with the folder `tests` on the path, whose drawings.py draws.
"""

import multiprocessing
import time
from collections.abc import Iterator
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path

import numpy as np
from drawings import KINDS, redraw
from PIL import Image
from tables import fill

from softmax_regression.base.errors import UserError
from softmax_regression.data.images import ImageSet
from softmax_regression.pictures.preparation import prepare
from softmax_regression.prediction.classifier import Classifier
from softmax_regression.results.statistics import wilson_interval, with_interval

ROOT = Path(__file__).parents[1]
PARTS = 20
SEED = 0


def main() -> None:
    """Measure, and write the table into the page."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        fill(ROOT / "docs/preparation.md", ("pictures", "scaled to 28×28", "prepared", "a second"), rows(pool))


def rows(pool: Pool) -> Iterator[list[str]]:
    """A row of the table for each kind of picture."""
    for kind, words in KINDS.items():
        scaled, prepared, seconds, count = map(sum, zip(*pool.map(partial(classify, kind), range(PARTS)), strict=True))
        low, high = wilson_interval(np.array([prepared]), np.array([count]))
        accuracy = with_interval(prepared / count, float(low[0]), float(high[0]))
        row = [words, f"{scaled / count:.4f}", accuracy, f"{round(count / seconds, -2):,.0f}"]
        print(*row, sep="; ", flush=True)
        yield row


def classify(kind: str, part: int) -> tuple[int, int, float, int]:
    """Of a part of the test images: how many are right scaled and prepared, seconds to answer, how many there are."""
    test = ImageSet.load(ROOT / "data/test.safetensors")
    test = test.take(np.arange(part, len(test), PARTS))
    classifier = Classifier.load(ROOT / "models/softmax.safetensors")
    random = np.random.default_rng([SEED, part])
    pictures = [redraw(image, kind, random) for image in test.images]
    (height, width), how = classifier.origin.image_size, classifier.origin.preparation
    scaled = np.stack([np.asarray(Image.fromarray(picture).resize((width, height))) for picture in pictures])
    start = time.process_time()
    answers = []
    for picture in pictures:
        try:
            image = prepare(picture, (height, width), how).image
            answers.append(int(classifier.probabilities(image[None]).argmax()))
        except UserError:
            answers.append(-1)
    seconds = time.process_time() - start
    right = [(found == test.labels).sum() for found in (classifier.probabilities(scaled).argmax(1), np.array(answers))]
    return int(right[0]), int(right[1]), seconds, len(test)


if __name__ == "__main__":
    main()
