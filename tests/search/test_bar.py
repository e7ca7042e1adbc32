import io
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from alone import SETTING

from softmax_regression.search.bar import show
from softmax_regression.search.member import Member
from softmax_regression.training.record import EpochRecord


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def searched(epochs: int) -> tuple[list[Member], Iterator[list[Member]]]:
    """Three members; the first diverges at once, and the last has the lowest cost from the third epoch on."""
    members = [Member(number, replace(SETTING, epochs=epochs, lr=0.1 * 2**number)) for number in range(3)]

    def turns() -> Iterator[list[Member]]:
        members[0].end = "diverged"
        yield members[:1]
        for epoch in range(epochs):
            members[1].records.append(EpochRecord(epoch, 0.0, 1.5, 0.5))
            members[2].records.append(EpochRecord(epoch, 0.0, 2.0 - 0.25 * epoch, 0.5))
            yield members[1:]

    return members, turns()


@pytest.mark.parametrize("epochs", [4, 40, 1001])
def test_a_log_gets_about_twenty_lines_with_the_best_so_far(epochs: int, capsys: pytest.CaptureFixture[str]) -> None:
    members, turns = searched(epochs)
    assert len(list(show(turns, members))) == epochs + 1
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert 4 <= len(lines) <= 21
    assert lines[0] == "33 %: nothing measured yet"
    assert lines[-1] == f"100 %: validation {2 - 0.25 * (epochs - 1):.4f} lr=0.4"
    if epochs == 4:
        assert lines[1] == "50 %: validation 1.5000 lr=0.2"
    assert output.err == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    members, turns = searched(4)
    assert len(list(show(turns, members))) == 5
    assert "100%" in terminal.getvalue() and "validation 1.2500 lr=0.4" in terminal.getvalue()
    assert capsys.readouterr().out == ""
