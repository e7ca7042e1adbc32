"""Trains as params.yaml says and prints the SHA-256 of the model's file; needs torch, numpy and safetensors alone.

The environment says on what (IMAGES), with how many WORKERS, in chunks of CHUNK images, as the last of a stack of STACK
models, after which EPOCH to be killed and resumed, and whether LIBRARY is to be numpy or torch.
"""

import os
import tempfile
from itertools import islice
from pathlib import Path

import torch

from softmax_regression.base.files import md5, sha256
from softmax_regression.data.images import ImageSet
from softmax_regression.data.weights import Origin
from softmax_regression.model import exact
from softmax_regression.model.arithmetic import set_threads
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.training import checkpoint, workers
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.state import TrainingState

RECIPE = Recipe("scratch", lr=0.1, lr_schedule="linear", epochs=30, batch_size=256, momentum=0.9, weight_decay=0.0)
VALIDATION, INIT_STD, SEED = 0.1, 0.01, 0


def begin(images: ImageSet, stack: int) -> TrainingState:
    """The state before the first step; in a stack the model comes last."""
    generator = torch.Generator().manual_seed(SEED)
    model = SoftmaxRegression.random(images.model_shape, INIT_STD, generator)
    others = [SoftmaxRegression.random(images.model_shape, 10.0**-n, torch.Generator()) for n in range(1, stack)]
    return TrainingState.start(SoftmaxRegression.stack([*others, model]) if stack > 1 else model, generator)


def main() -> None:
    setting = {name: int(os.environ.get(name, "0")) for name in ("WORKERS", "CHUNK", "STACK", "EPOCH")}
    set_threads()
    if library := os.environ.get("LIBRARY"):
        exact._numpy_multiplies_faster = lambda: library == "numpy"  # type: ignore[assignment]
    count = setting["WORKERS"] or 1
    if count > 1 and not workers.started_by_torchrun():
        workers.launch(count, Path(__file__))
        return
    exact.CHUNK_IMAGES = setting["CHUNK"] or exact.CHUNK_IMAGES
    training, validation = ImageSet.load(Path(os.environ["IMAGES"])).hold_out(VALIDATION)
    with workers.join(torch.device("cpu"), count) as share, tempfile.TemporaryDirectory() as folder:
        saved, state = Path(folder) / "state.safetensors", begin(training, setting["STACK"])
        if setting["EPOCH"]:
            epochs = checkpoint.train_resumably(saved, state, training, validation, RECIPE, share)
            checkpoint.write(saved, state, list(islice(epochs, setting["EPOCH"])))
            state = begin(training, setting["STACK"])
        if setting["STACK"]:
            from softmax_regression.training.loop import descend

            list(descend(state, training, RECIPE, share))
            model = SoftmaxRegression(state.model.weight[-1], state.model.bias[-1])
        else:
            list(checkpoint.train_resumably(saved, state, training, validation, RECIPE, share))
            model = state.model
        if share.is_first:
            model.save(Path(folder) / "model.safetensors", Origin.of(training, md5(Path(os.environ["IMAGES"]))))
            print(sha256(Path(folder) / "model.safetensors"), flush=True)


if __name__ == "__main__":
    main()
