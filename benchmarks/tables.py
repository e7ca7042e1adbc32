"""Puts measured tables into the pages of docs/."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from softmax_regression.base.files import write_text
from softmax_regression.tools import markdown

START, END = "<!-- measured by make bench -->\n", "\n<!-- end -->"


def fill(page: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Replace the table between the page's two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    write_text(page, f"{before}{START}{markdown.table(header, rows)}{END}{after}")
