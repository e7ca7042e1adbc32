"""Tables: which columns tell rows apart, and rows as text."""

from collections.abc import Iterable, Mapping, Sequence


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equally many cells as lines, the cells of a column below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def varying(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """The names of the columns that are not the same in all the rows that have them."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.items():
            values.setdefault(name, set()).add(str(value))
    return [name for name, different in values.items() if len(different) > 1]
