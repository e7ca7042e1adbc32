"""Two photographs that come with scikit-learn as a folder of small pictures in two classes, for docs/own-data.md."""

from pathlib import Path

from PIL import Image
from sklearn.datasets import load_sample_images

SIDE = 32

for name, photo in zip(("china", "flower"), load_sample_images().images, strict=True):
    folder = Path("tiles", name)
    folder.mkdir(parents=True, exist_ok=True)
    rows, columns = (range(0, length - SIDE + 1, SIDE) for length in photo.shape[:2])
    for row in rows:
        for column in columns:
            tile = photo[row : row + SIDE, column : column + SIDE]
            Image.fromarray(tile).save(folder / f"{row}-{column}.png")
    print(f"{folder}: {len(rows) * len(columns)} pictures")
