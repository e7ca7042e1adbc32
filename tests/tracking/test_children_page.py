"""MLflow's pages of a search, as a user sees them in a browser."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from browsers import PATIENCE, chromium, needs_browser
from events import Project
from playwright.sync_api import Page, expect

from softmax_regression.tracking import runs
from softmax_regression.tracking.event import Child, milliseconds

COUNT = 250
SERVE = "import sys; from softmax_regression.tracking import ui; ui.PORT = 0; ui.serve(*sys.argv[1:])"
"""At any free port: tests of the usual one may run at the same time."""

pytestmark = [pytest.mark.slow, needs_browser]


def child(number: int) -> Child:
    """The number is what its cost comes to, in thousandths; the 250th diverged."""
    name, parameters = f"setting {number}", {"lr": 1 / (number + 1), "epochs": 3}
    if number == COUNT - 1:
        return Child(name, parameters, tags={"end": "diverged"}, status="FAILED")
    costs = [2.0, 1.0, number / 1000]
    return Child(
        name, parameters, [("valid_cost", cost, epoch) for epoch, cost in enumerate(costs)], {"end": "trained"}
    )


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the experiment with a search of many settings."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        project = Project(root, runs.connect(root), "search")
        event = project.event("search", None, starts_run=True, run_name="the search", started=milliseconds())
        event.add_children([child(number) for number in range(COUNT)])
        place = f"/#/experiments/{project.record(event).info.experiment_id}/runs?workflowType=machine_learning"
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, f"sqlite:///{root / 'mlflow.db'}", place],
        env={**os.environ, "BROWSER": "true"},
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert server.stdout
        yield next(line.split()[-1] for line in server.stdout if place in line)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.communicate()


@pytest.fixture
def page(experiment: str) -> Iterator[Page]:
    expect.set_options(timeout=PATIENCE)
    with chromium() as browser, browser.new_page(viewport={"width": 1280, "height": 800}) as page:
        page.set_default_timeout(PATIENCE)
        page.goto(experiment)
        page.get_by_role("button", name="Close").click()  # MLflow greets with its assistant
        yield page


def test_the_settings_are_folded_below_their_search(page: Page) -> None:
    names = page.locator("[role=gridcell][col-id='attributes.`Run Name`']")
    expect(names).to_have_count(1)
    expect(names).to_contain_text("the search")
    names.get_by_role("button").click()
    expect(names.nth(1)).to_contain_text("setting")


def test_the_searchs_description_leads_to_the_best_setting(page: Page) -> None:
    page.get_by_role("link", name="the search").click()
    with page.expect_popup() as opened:
        page.get_by_role("link", name=f"{COUNT} runs below this one, the best first").click()
    table = opened.value
    first = table.locator("[role=row][row-index='0'] [role=gridcell]")
    expect(first.filter(has_text="setting 0")).to_have_count(1)
    for column, text in (("metrics.`valid_cost`", "0"), ("tags.`end`", "trained"), ("params.`lr`", "1.0")):
        expect(table.locator(f"[row-index='0'] [col-id='{column}']")).to_have_text(text)
    expect(table.get_by_role("columnheader", name="epochs")).to_have_count(0)
    table.locator("label", has=table.locator("input[value=CHART]")).click()
    drawn = "[...document.querySelectorAll('.js-plotly-plot')].flatMap(plot => plot.data).map(trace => [...trace.y])"
    table.wait_for_function(f"{drawn}.some(curve => JSON.stringify(curve) == '[2,1,0]')")
