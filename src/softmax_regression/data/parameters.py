"""The validated contents of params.yaml."""

import difflib
import re
import reprlib
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from softmax_regression.base.errors import UserError, one_line
from softmax_regression.data.images import LARGEST_SIDE

MOST_TOLD = 20
"""Problems told at once."""

LARGEST_FILE = 100_000
"""Bytes, sixty times what params.yaml has; the parser takes 10 s for a megabyte."""

_short = partial(one_line, limit=120)


class ParameterFile(BaseModel):
    """A file of `key: value` lines, each of them known and in its range."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and validate a file; raises UserError with one line that names each wrong key."""
        content = _read_mapping(path, cls.model_fields)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            found = error.errors()
            problems = [_explain(problem, cls.model_fields) for problem in found[:MOST_TOLD]]
            rest = [f"and {len(found) - MOST_TOLD} more"] * (len(found) > MOST_TOLD)
            raise UserError(f"{path}: {'; '.join(problems + rest)}") from None


def _below_the_project(path: object) -> object:
    if (
        not isinstance(path, str)
        or not path.isprintable()
        or not path.strip()
        or path.startswith("/")
        or ".." in path.split("/")
    ):
        raise ValueError("must be mnist, fashion_mnist, kmnist, digits, or a path below the project")
    return path


def _image_size(text: object) -> object:
    sides = re.fullmatch(r"(\d{1,3})x(\d{1,3})", str(text), re.ASCII)
    if text != "auto" and not (sides and all(1 <= int(side) <= LARGEST_SIDE for side in sides.groups())):
        raise ValueError(f"must be auto, or height x width such as 28x28, each up to {LARGEST_SIDE}")
    return text


class TrainingParameters(ParameterFile):
    """What determines a training."""

    dataset: Annotated[str, BeforeValidator(_below_the_project)]
    image_size: Annotated[str, BeforeValidator(_image_size)]
    colour: Literal["auto", "grey", "rgb"]
    allow_duplicates: bool
    validation: Annotated[float, Field(gt=0, lt=1)]
    features: Literal["pixels", "scattering"]
    implementation: Literal["scratch", "builtin"]
    init_std: Annotated[float, Field(ge=0, le=1_000_000)]
    lr: Annotated[float, Field(gt=0, le=1_000_000)]
    lr_schedule: Literal["constant", "linear", "cosine"]
    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    batch_size: Annotated[int, Field(ge=1, le=1_000_000_000)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0, le=1_000_000)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: Literal["auto", "cpu", "cuda"]
    workers: Annotated[int, Field(ge=1, le=1024)]


class Parameters(TrainingParameters):
    """What params.yaml may hold; the meaning of each key stands there as a comment."""

    figure_dpi: Annotated[int, Field(ge=20, le=600)]
    figure_mistakes: Annotated[int, Field(ge=1, le=100)]

    def features_of(self, data: Path) -> Path | None:
        """The file with the features of the images in a file of `data/`; None where the model is given the pixels."""
        return None if self.features == "pixels" else Path("features") / data.name

    @property
    def height_and_width(self) -> tuple[int, int] | None:
        """The image size that is asked for, if one is."""
        if self.image_size == "auto":
            return None
        height, width = map(int, self.image_size.split("x"))
        return height, width


class _Short(reprlib.Repr):
    """A value as Python writes it, shortened; `repr` itself refuses numbers of more than 4,300 digits."""

    def repr_int(self, x: int, level: int) -> str:
        return super().repr_int(x, level) if x.bit_length() < 1000 else f"a number of {x.bit_length()} bits"


def _read_mapping(path: Path, known: Iterable[str]) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > LARGEST_FILE:
        raise UserError(f"{path}: holds more than {LARGEST_FILE} bytes, too many for parameters")
    try:
        # As DVC reads the file, or dvc.lock would tell another value than was used: 010 is 8 to PyYAML and 10 to DVC.
        # Safe means that nothing of the file is run.
        mapping = YAML(typ="safe", pure=True).load(content.decode("utf-8"))
    except YAMLError as error:
        raise UserError(f"{path}: not a YAML text: {_explain_syntax(error)}") from None
    except Exception as error:  # whatever the library runs into: IndexError for !!int '', KeyError for !!bool x
        raise UserError(f"{path}: not a YAML text: {_short(error)}") from None
    if not isinstance(mapping, dict) or not all(isinstance(key, str) for key in mapping):
        raise UserError(f"{path}: must hold 'key: value' lines, keys being {', '.join(known)}")
    return mapping


def _explain_syntax(error: Any) -> str:
    """What is wrong and where, without the lines of the file and the advice that the library adds."""
    if not isinstance(error, MarkedYAMLError):
        return _short(error)
    mark = error.problem_mark
    return _short(f"{error.context or ''} {error.problem}") + f", line {mark.line + 1}, column {mark.column + 1}"


def _explain(problem: Any, known: Any) -> str:
    key = _short(problem["loc"][0])
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["type"] == "extra_forbidden":
        return f"{key} is unknown, the nearest known key is {_nearest(key, list(known))}"
    allowed = problem["msg"].replace("Input should be", "must be", 1).removeprefix("Value error, ")
    return f"{key} = {_short(_Short().repr(problem['input']))}: {allowed}"


def _nearest(key: str, known: list[str]) -> str:
    """The known key that was most likely meant; lr for learning_rate, though they share few letters."""
    initials = "".join(word[:1] for word in key.split("_"))
    return initials if initials in known else difflib.get_close_matches(key.lower(), known, n=1, cutoff=0)[0]
