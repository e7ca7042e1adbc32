"""The tutorial as `make tutorial` runs it, on the real MNIST."""

import os
import re
from pathlib import Path

import pytest
from clone import ROOT, Clone
from mlflow import MlflowClient

from softmax_regression.data.images import ImageSet

PICTURES = ("builtin", "from_scratch", "labels", "learning_curve", "predictions")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone in which the tutorial has run, its learning curve shortened: all of it takes 20 s."""
    mirror = os.environ.get("DATA_MIRROR")
    data = ROOT / "data/train.safetensors"
    at_hand = not mirror and data.is_file() and ImageSet.load(data).dataset == "mnist"
    if not (mirror or at_hand or os.environ.get("CI")):
        pytest.skip("needs MNIST: set DATA_MIRROR to a mirror, or run the pipeline first")
    clone = Clone(tmp_path_factory.mktemp("tutorial") / "clone")
    if mirror:
        clone.environment["DATA_MIRROR"] = mirror if "://" in mirror else str((ROOT / mirror).resolve())
    if at_hand:
        clone.take_data()
    clone.set_parameters("tutorial/params.yaml", curve_sizes=[25, 60000], curve_seeds=1)
    clone.make("tutorial")
    return clone


@pytest.fixture
def report(tutorial: Clone) -> str:
    return (tutorial.folder / "tutorial/report.md").read_text()


@pytest.mark.parametrize(
    ("published", "verdict"),
    [
        ("labels of the first 25 training images", "25 of 25: reproduced"),
        ("sums of softmax's rows", "3 of 3: reproduced"),
        ("cross-entropy, by index", "1 of 1: reproduced"),
        ("cross-entropy, by one-hot target", "1 of 1: reproduced"),
        ("costs from scratch, on training images as its code says", "1 of 11: differs"),
        ("costs from scratch, on test images", "11 of 11: reproduced"),
        ("labels of the first 10 test images", "10 of 10: reproduced"),
        ("predictions for them", "10 of 10: reproduced"),
        ("right predictions", "1 of 1: reproduced"),
        ("costs with the built-in API, in the range of 100 seeds", "11 of 11: reproduced"),
    ],
)
def test_each_verdict_of_the_report(report: str, published: str, verdict: str) -> None:
    assert f"| {published} | {verdict} |" in report


@pytest.mark.parametrize(
    "line",
    [
        "| labels of the first 25 training images "
        + 2 * "| 5 0 4 1 9 2 1 3 1 4 3 5 3 6 1 7 2 8 6 9 4 0 9 1 1 "
        + "| 25 of 25: reproduced |",
        "| cross-entropy, by index | 1.497866 | 1.497866 | 1 of 1: reproduced |",
        "| 100 | 0.055274 | 0.062107 | no | 0.055274 | yes |",
        "| 1000 | 0.005018 | 0.005348 | no | 0.005018 | yes |",
        "| predictions for them | 7 3 1 0 4 1 4 1 4 7 | 7 3 1 0 4 1 4 1 4 7 | 10 of 10: reproduced |",
        "| right predictions | 6 | 6 | 1 of 1: reproduced |",
    ],
)
def test_the_report_shows_each_figure_beside_the_published_one(report: str, line: str) -> None:
    assert line in report


def test_the_report_says_where_the_printed_costs_come_from(report: str) -> None:
    assert "computed on test images: 11 of 11 agree on test images, 1 on training images." in report


def test_large_logits_do_not_overflow(report: str) -> None:
    assert "the logits 1000 999 0 become 0.731059 0.268941 0.000000" in report


def test_accuracy_grows_from_about_55_percent_on_the_articles_images_to_over_92_on_all(report: str) -> None:
    (article,) = re.findall(r"trained on the first 25 training images, gets (\S+)% \(54\S+ to 56\S+\)", report)
    assert float(article) == pytest.approx(55, abs=0.5)
    sizes, accuracies = zip(*re.findall(r"^\| ([\d,]+) \| (\S+)% \|", report, flags=re.MULTILINE), strict=True)
    assert sizes == ("25", "60,000")
    assert 40 < float(accuracies[0]) < 60 < 92 < float(accuracies[1])


def test_each_training_is_a_run_in_mlflow(tutorial: Clone) -> None:
    client = MlflowClient(f"sqlite:///{tutorial.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tutorial")
    assert experiment
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert runs.keys() == {"from scratch", "built-in API", "learning curve"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    costs = client.get_metric_history(runs["from scratch"].info.run_id, "testing_images_cost")
    assert {cost.step: round(cost.value, 6) for cost in costs}[100] == 0.055274


def test_other_data_than_mnist_is_refused_in_one_line(tmp_path: Path) -> None:
    clone = Clone(tmp_path / "clone")
    clone.set_parameters(dataset="digits")
    output = clone.make("tutorial", check=False)
    refusal = "error: data/train.safetensors: holds digits, must hold mnist: set dataset in params.yaml to mnist"
    assert refusal in output.splitlines()
    assert "Traceback" not in output


def test_the_committed_report_and_pictures_are_what_comes_out(tutorial: Clone) -> None:
    before = (tutorial.folder / "tutorial/learning_curve.png").read_bytes()
    tutorial.run("git", "checkout", "tutorial")
    tutorial.make("tutorial")
    assert tutorial.run("git", "status", "--porcelain", "tutorial") == ""
    assert (tutorial.folder / "tutorial/learning_curve.png").read_bytes() != before
