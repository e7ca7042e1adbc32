"""What people would use instead: the usual loops, scikit-learn, and the bare matrix products."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 (else there is no HalvingGridSearchCV)
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV as GridSearchCV
from sklearn.model_selection import HalvingGridSearchCV as HalvingGridSearchCV
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

STRENGTHS = [*map(float, np.geomspace(0.01, 100, 64))]
"""Of C, which is what scikit-learn has for a weight decay. There is no learning rate and no momentum to try."""
GRID_ITERATIONS = 4
"""Of saga, which then gets as far as the search's best in its ten epochs. lbfgs takes 80 for that, 1.5 times as long;
SGDClassifier, which fits each class against the rest, stays at 0.931 however it is set."""


class InMemoryMNIST(MNIST):  # type: ignore[misc]
    """torchvision's own data set, its items made as ever (an image of PIL's, then ToTensor), without its download."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.data, self.targets = torch.from_numpy(images), torch.from_numpy(labels)
        self.transform, self.target_transform = ToTensor(), None


def dataloader_epoch(images: np.ndarray, labels: np.ndarray, batch_size: int, lr: float) -> None:
    """The loop of most tutorials: data set, ToTensor, DataLoader, nn.Linear, SGD."""
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
        InMemoryMNIST(images, labels), batch_size=batch_size, shuffle=True
    )
    model = nn.Sequential(nn.Flatten(), nn.Linear(images[0].size, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    criterion = nn.CrossEntropyLoss()
    for pixels, targets in loader:
        optimizer.zero_grad()
        criterion(model(pixels), targets).backward()
        optimizer.step()


def autograd_epoch(pixels: Tensor, labels: Tensor, batch_size: int, lr: float) -> None:
    """The same with all images in one float tensor, indexed by a permutation."""
    model = nn.Linear(pixels.shape[1], 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    criterion = nn.CrossEntropyLoss()
    for rows in torch.randperm(len(labels)).split(batch_size):
        optimizer.zero_grad()
        criterion(model(pixels[rows]), labels[rows]).backward()
        optimizer.step()


def products_epoch(pixels: Tensor, batch_size: int) -> None:
    """Nothing but each batch's two products, in the layout that was fastest, on images in their order."""
    weight, error = torch.zeros(10, pixels.shape[1]), torch.ones(batch_size, 10)
    for batch in pixels.split(batch_size):
        weight @ batch.T
        error[: len(batch)].T @ batch


def scikit_learn_settings() -> Iterator[tuple[str, dict[str, object]]]:
    """Settings of LogisticRegression, on float32 pixels from 0 to 1; without a penalty none was faster."""
    for iterations in (4, 5, 6, 7, 10):
        setting = {"solver": "saga", "tol": 0.0, "max_iter": iterations, "random_state": 0}
        yield f"saga, {iterations} iterations", setting
    for iterations in (20, 40, 80):
        yield f"lbfgs, {iterations} iterations", {"solver": "lbfgs", "tol": 0.0, "max_iter": iterations}


def grid_search(kind: type, strengths: list[float], pixels: np.ndarray, labels: np.ndarray, held_out: int) -> Any:
    """Fit LogisticRegression with each C in two processes; the last images, so many, compare them.

    The kind is GridSearchCV; or HalvingGridSearchCV, which begins with few images, as its defaults have it.
    """
    rows = np.split(np.arange(len(labels)), [-held_out])
    model = LogisticRegression(solver="saga", tol=0.0, max_iter=GRID_ITERATIONS, random_state=0)
    return kind(model, {"C": strengths}, cv=[tuple(rows)], refit=False, n_jobs=2).fit(pixels, labels)
