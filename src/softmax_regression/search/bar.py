"""How far the search is and what is best so far: a bar on a terminal, plain lines in a log."""

import math
import sys
from collections.abc import Iterator, Sequence

from tqdm import tqdm

from softmax_regression.results.tables import varying
from softmax_regression.search.member import Member


def show(turns: Iterator[list[Member]], members: Sequence[Member]) -> Iterator[list[Member]]:
    """Pass the turns on, which change the members; in a log, print about twenty lines, the last one included."""
    on_terminal = sys.stderr.isatty()
    total = sum(member.setting.epochs for member in members)
    names = varying(vars(member.setting) for member in members)
    every, told = math.ceil(total / 20), 0
    with tqdm(
        total=total, bar_format="{percentage:3.0f}% {bar:9} {remaining}{postfix}", disable=not on_terminal
    ) as bar:
        for turn in turns:
            # Those that have left have no more to do.
            done = sum(member.setting.epochs if member.end else len(member.records) for member in members)
            if on_terminal:
                bar.set_postfix_str(_best(members, names), refresh=False)
                bar.update(done - bar.n)
            elif done - told >= every or done == total:
                print(f"{done * 100 // total} %: {_best(members, names)}", flush=True)
                told = done
            yield turn


def _best(members: Sequence[Member], names: Sequence[str]) -> str:
    measured = [member for member in members if member.records and member.end != "diverged"]
    if not measured:
        return "all have diverged" if all(member.end for member in members) else "nothing measured yet"
    best = min(measured, key=lambda member: (member.records[-1].valid_cost, member.number))
    how = [f"{name}={getattr(best.setting, name)}" for name in names]
    return " ".join([f"validation {best.records[-1].valid_cost:.4f}", *how])
