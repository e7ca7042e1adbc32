"""A few of the interruptions that `make trials` does by the hundred."""

import random

import pytest
from count import report
from interrupt import FAULTS, STAGES, Pipeline, Trial, prepare, run


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return prepare(tmp_path_factory.mktemp("trials"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "stage"), list(zip(FAULTS, ("visualize", "train", "evaluate", "visualize", "train"), strict=True))
)
def test_an_interrupted_pipeline_ends_as_an_undisturbed_one(
    pipeline: Pipeline, fault: str, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    trial = Trial(stage, fault)
    run(pipeline, trial, random.Random(f"{fault}, {stage}"))  # noqa: S311
    assert not trial.problems, "\n".join([str(trial), *trial.problems])


def test_the_page_counts_each_trial_and_each_failure() -> None:
    trials = [Trial(stage, fault) for stage in STAGES for fault in FAULTS]
    trials[1].problems = ["metrics/test.json is wrong"]
    page = report(trials, seed=0)
    assert "| kill -9 of dvc | 1 | 1 | 1 | 1 | 1 |" in page
    assert "| all | 5 | 5 | 5 | 5 | 1 |" in page
