"""Puts measured tables into the pages of docs/."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from softmax_regression.base.files import write_text
from softmax_regression.tools import markdown

START, END = "<!-- measured by make bench -->\n", "<!-- end -->\n"


def fill(page: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Replace the table between the page's two marks."""
    table = markdown.table(header, rows)
    before, rest = page.read_text(encoding="utf-8").split(START)
    _, after = rest.split(END)
    write_text(page, f"{before}{START}{table}\n{END}{after}")
