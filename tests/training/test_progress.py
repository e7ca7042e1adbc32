import io
import sys
from collections.abc import Iterator

import pytest

from softmax_regression.training.progress import show
from softmax_regression.training.record import EpochRecord


def records(total: int) -> list[EpochRecord]:
    return [EpochRecord(epoch, 2.0 - epoch / total, 1.25, 0.5) for epoch in range(total)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("total", [1, 19, 20, 30, 39, 1001])
def test_a_log_gets_about_twenty_lines_the_first_and_the_last_epoch_included(
    total: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(show(iter(records(total)), total)) == records(total)
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert min(total, 10) <= len(lines) <= 21
    assert lines[0] == "epoch 0: cost 2.0000, validation 1.2500, accuracy 0.5000"
    assert lines[-1].startswith(f"epoch {total - 1}: ")
    assert output.err == ""


def test_a_terminal_gets_a_bar_with_the_latest_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(show(iter(records(3)), 3)) == records(3)
    assert "3/3" in terminal.getvalue()
    assert "cost 1.3333, validation 1.2500, accuracy 0.5000" in terminal.getvalue()
    assert capsys.readouterr().out == ""


def test_the_figures_fit_into_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    list(show(iter(records(3)), 1000))
    assert "cost 1.3333, validation 1.2500, accuracy 0.5000\n" in terminal.getvalue().replace("\r", "\n")


def test_records_pass_one_by_one_as_they_are_made() -> None:
    made = []

    def making() -> Iterator[EpochRecord]:
        for record in records(3):
            made.append(record.epoch)
            yield record

    for record in show(making(), 3):
        assert made[-1] == record.epoch
