"""What people would write to search with Optuna: processes that share a journal. searching.py measures it.

Each process loads the images once, and trains with the project's own loop.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import optuna
import torch
from optuna.pruners import NopPruner, SuccessiveHalvingPruner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from softmax_regression.data.images import ImageSet
from softmax_regression.model.arithmetic import set_threads
from softmax_regression.model.softmax import SoftmaxRegression
from softmax_regression.search.space import Setting
from softmax_regression.training.loop import train
from softmax_regression.training.recipe import Recipe
from softmax_regression.training.state import TrainingState

DATA, VALIDATION = Path(__file__).parents[1] / "data/train.safetensors", 0.1
STUDY = "search"
PRUNERS = {"none": NopPruner(), "halving": SuccessiveHalvingPruner(min_resource=1, reduction_factor=2)}
"""The second compares after 1, 2, 4 and 8 epochs, where the better half of those that have come so far goes on."""


def storage(journal: Path) -> JournalStorage:
    """What Optuna's documentation names first for several processes of one machine."""
    return JournalStorage(JournalFileBackend(str(journal)))


def enqueue(settings: Iterable[Setting], journal: Path) -> optuna.Study:
    """A study in which a trial of each setting waits."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=storage(journal), study_name=STUDY)
    for setting in settings:
        study.enqueue_trial({name: getattr(setting, name) for name in ("lr", "momentum", "weight_decay")})
    return study


def main(journal: Path, trials: int, epochs: int, implementation: str, pruner: str) -> None:
    """Train so many of the waiting trials."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    set_threads()
    training, validation = ImageSet.load(DATA).hold_out(VALIDATION)

    def cost(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-3, 10, log=True)
        momentum, weight_decay = trial.suggest_float("momentum", 0, 1), trial.suggest_float("weight_decay", 0, 1)
        recipe = Recipe(implementation, lr, "linear", epochs, 256, momentum, weight_decay)
        generator = torch.Generator().manual_seed(0)
        model = SoftmaxRegression.random(training.model_shape, 0.01, generator).to(recipe.dtype)
        for record in train(TrainingState.start(model, generator), training, validation, recipe):
            if pruner != "none":  # else each report would take its time for nothing
                trial.report(record.valid_cost, record.epoch + 1)
                if trial.should_prune():
                    raise optuna.TrialPruned
        trial.set_user_attr("accuracy", record.valid_accuracy)
        return record.valid_cost

    study = optuna.load_study(storage=storage(journal), study_name=STUDY, pruner=PRUNERS[pruner])
    study.optimize(cost, trials)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
