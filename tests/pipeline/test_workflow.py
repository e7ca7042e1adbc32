"""What those meet who come by GitHub: the workflow, the README's Python, the line ends."""

import re
from pathlib import Path

import pytest
import yaml
from clone import ROOT, Clone

WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
STEPS = WORKFLOW["jobs"]["check"]["steps"]


def test_every_action_is_pinned_to_a_commit() -> None:
    actions = [step["uses"] for step in STEPS if "uses" in step]
    assert len(actions) == 4
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action in actions)


def test_every_make_target_exists() -> None:
    wanted = {target for step in STEPS for target in re.findall(r"^make ([\w-]+)$", step.get("run", ""), re.MULTILINE)}
    declared = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared
    assert wanted == {"setup", "lint", "verify", "test-all"}
    assert wanted <= set(declared[1].split())


def test_the_readmes_python_runs(trained: Clone, tmp_path: Path) -> None:
    clone = trained.copy(tmp_path / "clone")
    blocks = re.findall(r"^```\n(python -c \"\n.*?\")\n```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    printed = [clone.run("bash", "-c", block, PYTHONPATH="src") for block in blocks if "mlflow" not in block]
    assert re.fullmatch(r"tensor\(\[(\d, ){9}\d\]\)\n", printed[0])
    cost, accuracy = map(float, printed[1].strip("()\n").split(", "))
    assert cost < 0.5
    assert accuracy > 0.88


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))], ids=lambda page: page.name)
def test_each_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text()):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        titles = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles], (
            link
        )


def test_line_ends_are_the_same_whatever_git_is_told(tmp_path: Path) -> None:
    origin = Clone(tmp_path / "origin")  # with the working tree's changes
    clone = ("git", "clone", "--quiet", "--config", "core.autocrlf=true", ".", str(tmp_path / "windows"))
    origin.run(*clone)
    listed = origin.run("git", "-C", str(tmp_path / "windows"), "ls-files", "--eol")
    assert "w/lf" in listed
    assert "w/crlf" not in listed


def test_the_comment_shows_what_changed(trained: Clone, tmp_path: Path) -> None:
    clone = trained.copy(tmp_path / "clone")
    clone.make("--version")
    comment = STEPS[-1]["run"].replace("gh pr comment", ": gh pr comment")
    base = clone.run("git", "rev-parse", "HEAD~1").strip()
    clone.run("bash", "-e", "-c", comment, BASE=base, NUMBER="1", RUN="https://example.org/run")

    report = (clone.folder / "report.md").read_text()
    assert "| params.yaml | dataset | mnist | digits |" in re.sub(" +", " ", report)
    assert re.search(
        r"^\| metrics/test.json \| accuracy \| 0\.92\d+ \| 0\.68\d+ ", re.sub(" +", " ", report), re.MULTILINE
    )
    before, after = re.findall(r"^  line \[(.*)\]$", report, flags=re.MULTILINE)
    assert [len(before.split(",")), after] == [30, "0.8819444444444444,0.7847222222222222"]
    assert "[All figures](https://example.org/run)" in report
