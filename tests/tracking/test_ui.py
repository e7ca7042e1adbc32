"""MLflow's pages, as a user of `make ui` sees them in a browser."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browsers import PATIENCE, chromium, keep_screenshot, needs_browser
from clone import Clone
from mlflow import MlflowClient
from mlflow.entities import Run
from playwright.sync_api import Browser, Page, expect

from softmax_regression.tracking import ui

DRAWN = """
    [...document.querySelectorAll('.js-plotly-plot')].flatMap(plot => plot.data)
        .filter(trace => trace.mode?.includes('lines')).map(trace => [...trace.y])
"""
"""In JavaScript: the values of each curve that is drawn."""
HEADER = "experiment-view-compare-runs-section-header"
RATES = {"lr-0.01": 0.01, "lr-0.1": 0.1, "lr-1": 1.0}

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone(tmp_path_factory.mktemp("ui") / "clone")


@pytest.fixture(scope="module")
def address(clone: Clone) -> Iterator[str]:
    """What `make ui` opens, started where no run exists yet, and the three runs made since."""
    (clone.folder / ".venv").symlink_to(sys.prefix)
    printed = clone.folder.parent / "printed"
    with printed.open("w") as file:
        process = subprocess.Popen(
            ["make", "--old-file=.venv/installed", "ui"],
            cwd=clone.folder,
            env={**clone.environment, "PYTHONPATH": "src", "BROWSER": "echo opened %s"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for("No run is recorded yet", printed, process)
        for name, lr in RATES.items():
            settings = [f"--set-param={setting}" for setting in ("dataset=digits", f"lr={lr}")]
            target = [] if lr == max(RATES.values()) else ["evaluate"]
            clone.run("dvc", "exp", "run", "--name", name, *settings, *target)
        wait_for("opened ", printed, process)
        yield (address := printed.read_text().rpartition("opened ")[2].strip())
        process.terminate()
        process.wait()
        deadline = time.monotonic() + 30
        while ui.answers(urlsplit(address).port or 0):  # no server outlives it
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(text: str, file: Path, process: "subprocess.Popen[bytes]") -> None:
    while text not in file.read_text():
        assert process.poll() is None, file.read_text()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def client(clone: Clone, address: str) -> MlflowClient:
    assert address
    return MlflowClient(f"sqlite:///{clone.folder / 'mlflow.db'}")


@pytest.fixture(scope="module")
def runs(client: MlflowClient) -> dict[str, Run]:
    experiment = client.get_experiment_by_name("softmax-regression")
    assert experiment
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The table of runs, as one sees it who has never been there."""
    expect.set_options(timeout=PATIENCE)
    with browser.new_page(viewport={"width": 1280, "height": 800}) as page:
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.get_by_role("button", name="Close").click()  # MLflow greets with its assistant
        page.get_by_role("heading", name="Runs", exact=True).wait_for()
        page.get_by_role("link", name="lr-1", exact=True).wait_for()
        yield page


def test_the_server_listens_on_this_machine_alone(address: str) -> None:
    port = urlsplit(address).port
    socket.create_connection(("127.0.0.1", port), 5).close()
    # A server of all addresses would answer at this one, which is this machine too.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), 5)


def test_the_table_shows_name_learning_rate_and_test_accuracy_of_each_run(page: Page, runs: dict[str, Run]) -> None:
    names, rates, accuracies = (
        table_column(page, name) for name in ("attributes.`Run Name`", "params.`lr`", "metrics.`test_accuracy`")
    )
    shown = {name: (float(lr), float(accuracy)) for name, lr, accuracy in zip(names, rates, accuracies, strict=True)}
    assert shown == {name: (RATES[name], runs[name].data.metrics["test_accuracy"]) for name in RATES}
    keep_screenshot(page, "ui-runs.png")


def table_column(page: Page, name: str) -> list[str]:
    cells = page.locator(f'[role=gridcell][col-id="{name}"]')
    expect(cells).to_have_count(len(RATES))
    # The cell of a name also holds the code of its colour.
    return [text.split()[-1] for text in cells.all_inner_texts()]


def test_the_charts_begin_with_the_cost_curves_of_each_run_and_keep_the_classes_closed(
    page: Page, client: MlflowClient, runs: dict[str, Run]
) -> None:
    page.locator("label", has=page.locator("input[value=CHART]")).click()
    curves = {
        tuple(point.value for point in client.get_metric_history(run.info.run_id, metric))
        for run in runs.values()
        for metric in ("train_cost", "valid_cost")
    }
    assert len(curves) == 2 * len(RATES)
    drawn = f"new Set({DRAWN}.map(JSON.stringify))"
    page.wait_for_function(f"{[list(curve) for curve in curves]}.every(one => {drawn}.has(JSON.stringify(one)))")
    sections = page.locator("[role=button][aria-expanded]", has=page.get_by_test_id(HEADER))
    expect(sections).to_have_count(7)
    assert sections.nth(0).inner_text().startswith("Model metrics")
    opened = [sections.nth(number).get_attribute("aria-expanded") for number in range(7)]
    assert opened == ["true"] + 6 * ["false"]
    keep_screenshot(page, "ui-compare.png")


def test_comparing_shows_the_one_parameter_that_differs(page: Page) -> None:
    page.get_by_label("Select all runs").check()
    page.get_by_role("button", name="Compare").click()
    page.get_by_label("Parameters - Show diff only").click()
    rows = page.get_by_role("table").nth(1).get_by_role("row")
    expect(rows).to_have_count(1)
    name, *values = rows.first.inner_text().split()
    assert (name, sorted(map(float, values))) == ("lr", sorted(RATES.values()))


def test_each_figure_opens_among_the_artifacts_of_a_run(page: Page, clone: Clone) -> None:
    page.get_by_role("link", name="lr-1", exact=True).click()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("figures", exact=True).click()
    figures = sorted((clone.folder / "figures").glob("*.png"))
    assert len(figures) == 7
    for figure in figures:
        page.get_by_text(figure.name, exact=True).click()
        width, height = struct.unpack(">II", figure.read_bytes()[16:24])
        picture = page.get_by_alt_text(f"figures/{figure.name}")
        expect(picture).to_have_js_property("naturalWidth", width)
        expect(picture).to_have_js_property("naturalHeight", height)


def test_the_drawing_page_opens_there_too(page: Page) -> None:
    page.get_by_role("link", name="lr-1", exact=True).click()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("figures", exact=True).click()
    page.get_by_text("draw.html", exact=True).click()
    drawing = page.frame_locator("iframe").locator("#drawing")
    box = drawing.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] * 3 / 4, steps=5)
    page.mouse.up()
    expect(page.frame_locator("iframe").locator("#result")).to_contain_text("%")


def test_the_registered_model_shows_its_champion(page: Page, runs: dict[str, Run]) -> None:
    page.get_by_role("link", name="Model registry").click()
    page.get_by_role("dialog").get_by_label("Close").click()  # a greeting
    page.locator('a[href$="/models/softmax-regression"]').click()
    champion = page.get_by_role("row").filter(has_text="@ champion")
    expect(champion).to_have_count(1)
    expect(champion).to_contain_text(str(min(run.data.metrics["final_valid_cost"] for run in runs.values())))
