"""The validated contents of search.yaml, and the settings that it means."""

import itertools
import math
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import fields as fields_of
from decimal import Context, Decimal
from pathlib import Path
from random import Random
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, PlainValidator, TypeAdapter, ValidationError, ValidationInfo

from softmax_regression.base.errors import UserError
from softmax_regression.data.parameters import ParameterFile, TrainingParameters

FILE = Path("search/search.yaml")
MOST_SETTINGS = 10_000
MOST_NUMBERS = 1_000_000_000
"""In a range of whole numbers: as many as there are batch sizes."""
DRAWS_A_SETTING = 100
"""So many draws are made for each setting that is asked for, before too few are found to differ."""
EXACTLY, DIGITS = Context(prec=28), Context(prec=4)
"""Decimals are computed the same everywhere, exp and ln included, and numbers within a range rounded to four digits."""


@dataclass(frozen=True)
class Setting:
    """What one training is given, by the names of params.yaml and in their order."""

    init_std: float
    lr: float
    lr_schedule: str
    epochs: int
    batch_size: int
    momentum: float
    weight_decay: float
    seed: int

    @property
    def apart_from_seed(self) -> "Setting":
        """What settings have in common that differ in their seeds alone."""
        return replace(self, seed=0)


NAMES = tuple(field.name for field in fields_of(Setting))


@dataclass(frozen=True)
class Distribution:
    """Numbers from `low` to `high`, evenly spread themselves or, where `is_log`, in their logarithms."""

    low: float
    high: float
    is_log: bool

    def at(self, share: Decimal) -> float:
        """The number after a share, 0 to 1, of the way; the ends as they are, what lies between to four digits."""
        low, high = Decimal(repr(self.low)), Decimal(repr(self.high))
        if self.is_log:
            low, high = low.ln(EXACTLY), high.ln(EXACTLY)
        value = EXACTLY.fma(share, EXACTLY.subtract(high, low), low)
        rounded = float(DIGITS.plus(value.exp(EXACTLY) if self.is_log else value))
        return min(max(rounded, self.low), self.high) if 0 < share < 1 else (self.high if share else self.low)


Choice = Sequence[Any] | Distribution
"""What a parameter may be: one of several values, or any of a distribution's."""


@dataclass(frozen=True)
class Draw:
    """So many settings drawn at random, instead of every combination; each of them has every seed."""

    count: int
    seed: int = 0


def _draw(content: object) -> Draw | None:
    if content is None:
        return None
    parts = content if isinstance(content, Mapping) else {"count": content}
    if not {"count"} <= parts.keys() <= {"count", "seed"} or any(type(part) is not int for part in parts.values()):
        raise ValueError("must be a count, or have a count and may have a seed")
    draw = Draw(**parts)
    if not 1 <= draw.count <= MOST_SETTINGS:
        raise ValueError(f"count must be from 1 to {MOST_SETTINGS}")
    return draw


def _choice(content: object, info: ValidationInfo) -> Choice:
    name = str(info.field_name)
    if isinstance(content, Mapping):
        # Of a draw that is wrong nothing is known here but that there is one.
        return _range(name, content, drawn=info.data.get("draw", content) is not None)
    values = content if isinstance(content, list) else [content]
    if not values:
        raise ValueError("must hold a value at least")
    return tuple(dict.fromkeys(_checked(name, value) for value in values))


def _range(name: str, content: Mapping[object, Any], drawn: bool) -> Choice:
    if not {"from", "to"} <= content.keys() <= {"from", "to", "count", "scale"}:
        raise ValueError("must have from and to, and may have count and scale")
    low, high = _checked(name, content["from"]), _checked(name, content["to"])
    count, scale = content.get("count"), content.get("scale", "linear")
    if isinstance(low, str):
        raise ValueError("must be a list, as there is no range of words")
    if low >= high:
        raise ValueError("from must be less than to")
    if isinstance(low, int):
        if content.keys() != {"from", "to"}:
            raise ValueError("must have from and to alone, as it means all whole numbers between")
        if high - low >= MOST_NUMBERS:
            raise ValueError(f"must hold at most {MOST_NUMBERS} numbers")
        return range(low, high + 1)
    if scale not in ("linear", "log"):
        raise ValueError("scale must be linear or log")
    if scale == "log" and low == 0:
        raise ValueError("from must be greater than 0, as the scale is log")
    spread = Distribution(low, high, scale == "log")
    if count is None and drawn:
        return spread
    if type(count) is not int or not 2 <= count <= MOST_SETTINGS:
        raise ValueError(f"count must be from 2 to {MOST_SETTINGS}" + " where nothing is drawn" * (count is None))
    values = tuple(dict.fromkeys(spread.at(EXACTLY.divide(number, count - 1)) for number in range(count)))
    if len(values) < count:
        raise ValueError(f"count must be {len(values)} at most, as numbers between are rounded to four digits")
    return values


def _checked(name: str, value: object) -> Any:
    """A value that params.yaml may hold under this name; raises ValueError for others."""
    field = TrainingParameters.model_fields[name]
    kind: Any = Annotated[field.annotation, field]
    try:
        return TypeAdapter(kind, config=TrainingParameters.model_config).validate_python(value)
    except ValidationError as error:
        told = error.errors()[0]["msg"].replace("Input should", "must", 1)
        raise ValueError(f"{reprlib.repr(value)} {told}") from None


def _rungs(content: object) -> tuple[int, ...]:
    rungs = content if isinstance(content, list) else [content]
    if not all(type(rung) is int and rung >= 1 for rung in rungs) or rungs != sorted(set(rungs)):
        raise ValueError("must be epochs from 1 on, each one greater than the one before")
    return tuple(rungs)


def _refuse(_: object) -> None:
    raise ValueError(f"cannot be searched; what can is {', '.join(NAMES)}")


Values = Annotated[Any, PlainValidator(_choice)]


class SearchSpace(ParameterFile):
    """What search.yaml must hold: of each parameter what is tried, be it one value; and how."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[Any, BeforeValidator(_refuse)]]

    draw: Annotated[Draw | None, PlainValidator(_draw)] = None  # first, as a range without a count needs it
    init_std: Values
    lr: Values
    lr_schedule: Values
    epochs: Values
    batch_size: Values
    momentum: Values
    weight_decay: Values
    seed: Values
    rungs: Annotated[tuple[int, ...], PlainValidator(_rungs)] = ()
    """After so many epochs the worse half is stopped (halving.py)."""

    def settings(self) -> list[Setting]:
        """All of them, each once: combinations in the order of NAMES, the last of which changes fastest; or as drawn.

        Raises UserError where they are too many or too few.
        """
        choices: dict[str, Any] = {name: getattr(self, name) for name in NAMES}
        seeds = choices.pop("seed")
        is_endless = any(isinstance(choice, Distribution) for choice in choices.values())
        combinations = math.inf if is_endless else math.prod(len(choice) for choice in choices.values())
        count = (self.draw.count if self.draw else combinations) * len(seeds)
        if count > MOST_SETTINGS:
            raise UserError(f"{FILE}: {count} trainings, more than {MOST_SETTINGS}: shorten the lists, or draw fewer")
        if self.draw:
            apart_from_seed = self._drawn(choices, self.draw, combinations)
        else:
            apart_from_seed = [Setting(*values) for values in itertools.product(*choices.values(), [0])]
        found = [replace(setting, seed=seed) for setting in apart_from_seed for seed in seeds]
        longest = max(setting.epochs for setting in found)
        if self.rungs and self.rungs[-1] >= longest:
            raise UserError(f"{FILE}: rungs = {list(self.rungs)}: must be less than epochs, {longest}")
        return found

    def _drawn(self, choices: Mapping[str, Choice], draw: Draw, combinations: float) -> list[Setting]:
        found: dict[Setting, None] = {}
        for setting in itertools.islice(_draws(choices, draw.seed), draw.count * DRAWS_A_SETTING):
            found[setting] = None
            if len(found) in (draw.count, combinations):
                break
        if len(found) < draw.count:
            raise UserError(f"{FILE}: draw = {draw.count}: only {len(found)} different settings were found")
        return list(found)


def _draws(choices: Mapping[str, Choice], seed: int) -> Iterator[Setting]:
    """Settings without end. Each parameter has random numbers of its own: what the others may be changes none."""
    # Of what Python offers, `random` alone is promised to be the same in each version, from a text as from a number.
    sources = {name: Random(f"{seed} {name}") for name in choices}  # noqa: S311 (nothing is kept secret)
    while True:
        yield Setting(**{name: _pick(choice, sources[name].random()) for name, choice in choices.items()}, seed=0)


def _pick(choice: Choice, share: float) -> Any:
    return choice.at(Decimal(share)) if isinstance(choice, Distribution) else choice[int(share * len(choice))]
