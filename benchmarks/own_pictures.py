"""Reads 60,000 small PNG files as the pipeline does and as torchvision does, and a million: docs/own-data.md."""

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tables import fill

ROOT = Path(__file__).parents[1]
COUNT, MANY, SIDE, CLASSES = 60_000, 1_000_000, 28, 10
TURNS = 5


def main() -> None:
    """Measure, and write the table into the page."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "some"), COUNT)
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(TURNS):
            for whose, measured in seconds.items():
                measured.append(run(whose, Path(folder, "some"))[0])
        write(Path(folder, "many"), MANY)
        many = run("ours", Path(folder, "many"))
    fill(ROOT / "docs/own-data.md", ("pictures", "by", "seconds", "memory"), rows(seconds, many))


def rows(seconds: dict[str, list[float]], many: tuple[float, float]) -> Iterator[list[str]]:
    """The table's lines."""
    ours, theirs = (statistics.median(seconds[whose]) for whose in ("ours", "theirs"))
    yield [f"{COUNT:,}", "this project", f"{ours:.1f}, {theirs / ours:.1f} times as fast", ""]
    yield [f"{COUNT:,}", "ImageFolder, DataLoader with 2 workers", f"{theirs:.1f}", ""]
    yield [f"{MANY:,}", "this project", f"{many[0]:.0f}", f"{many[1]:.0f} MiB"]


def write(folder: Path, count: int) -> None:
    """So many different pictures, in ten classes."""
    random = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / str(label)).mkdir(parents=True)
    for number in range(count):
        # Strokes compress as MNIST's do: to a third.
        image = np.zeros((SIDE, SIDE), np.uint8)
        image[6:22, 8:20] = random.integers(0, 256, (16, 12))
        Image.fromarray(image).save(folder / str(number % CLASSES) / f"{number}.png", compress_level=1)


def run(whose: str, folder: Path) -> tuple[float, float]:
    """Seconds, and MiB of memory that is no file's, in a process of its own."""
    said = subprocess.run([sys.executable, __file__, whose, folder], check=True, capture_output=True, text=True).stdout
    print(whose, folder.name, said, flush=True)
    first, second = map(float, said.split())
    return first, second


def ours(folder: Path) -> float:
    """Import the pictures and save the image sets; the seconds that this took."""
    from softmax_regression.sources import own

    start = time.perf_counter()
    train, test, _, _ = own.read(str(folder), own.Wanted(None, "auto", allow_duplicates=False))
    train.save(folder.parent / "train.safetensors")
    test.save(folder.parent / "test.safetensors")
    return time.perf_counter() - start


def theirs(folder: Path) -> float:
    """Read the pictures in batches, as most do; the seconds that this took."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import Compose, Grayscale, ToTensor

    start = time.perf_counter()
    images = ImageFolder(folder, Compose([Grayscale(), ToTensor()]))
    for _ in DataLoader(images, batch_size=256, num_workers=2):
        pass
    return time.perf_counter() - start


def watched(function: Callable[[Path], float], folder: Path) -> tuple[float, float]:
    """What a function returns, and the most MiB that this process held meanwhile beside what is mapped from files."""
    most, is_over = 0.0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not is_over.wait(0.05):
            (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line[:8] == "RssAnon:")
            most = max(most, int(line.split()[1]) / 1024)

    watcher = threading.Thread(target=watch)
    watcher.start()
    found = function(folder)
    is_over.set()
    watcher.join()
    return found, most


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(*watched({"ours": ours, "theirs": theirs}[sys.argv[1]], Path(sys.argv[2])))
