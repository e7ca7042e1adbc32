"""The validated contents of params.yaml and tutorial/params.yaml."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from softmax_regression.errors import UserError


def _number(value: object) -> object:
    """Turn '1e-05' into a float: `dvc exp run -S lr=1e-5` writes it so, and PyYAML reads that as a text."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+", value):
        return float(value)
    return value


Number = Annotated[float, BeforeValidator(_number)]


class _ParameterFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and validate a file; raises UserError with one line that names each wrong key."""
        content = _read_mapping(path, cls.model_fields)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            problems = [_explain(problem, cls.model_fields) for problem in error.errors()]
            raise UserError(f"{path}: {'; '.join(problems)}") from None


class Parameters(_ParameterFile):
    """What params.yaml may hold; the meaning of each key stands there as a comment."""

    dataset: Literal["mnist", "fashion_mnist", "kmnist", "digits"]
    validation: Annotated[Number, Field(gt=0, lt=1)]
    implementation: Literal["scratch", "builtin"]
    init_std: Annotated[Number, Field(ge=0, le=1_000_000)]
    lr: Annotated[Number, Field(gt=0, le=1_000_000)]
    lr_schedule: Literal["constant", "linear", "cosine"]
    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    batch_size: Annotated[int, Field(ge=1, le=1_000_000_000)]
    momentum: Annotated[Number, Field(ge=0, lt=1)]
    weight_decay: Annotated[Number, Field(ge=0, le=1_000_000)]
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: Literal["auto", "cpu", "cuda"]
    figure_dpi: Annotated[int, Field(ge=20, le=600)]
    figure_mistakes: Annotated[int, Field(ge=1, le=100)]


class TutorialParameters(_ParameterFile):
    """What tutorial/params.yaml may hold; the meaning of each key stands there as a comment."""

    article_images: Annotated[int, Field(ge=1)]
    article_lr: Annotated[Number, Field(gt=0, le=1_000_000)]
    # The last of the printed costs is that of epoch 1000.
    article_epochs: Annotated[int, Field(ge=1001, le=1_000_000)]
    article_init_std: Annotated[Number, Field(ge=0, le=1_000_000)]
    article_seeds: Annotated[int, Field(ge=1, le=10_000)]
    curve_sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    curve_seeds: Annotated[int, Field(ge=1, le=10_000)]


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys without a word; which of them was meant nobody knows."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys: list[Any] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in keys:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is there twice", key_node.start_mark)
            keys.append(key)
        return super().construct_mapping(node, deep)


def _read_mapping(path: Path, known: Iterable[str]) -> dict[str, object]:
    try:
        # S506 warns of loaders that run code: this one is a SafeLoader.
        content = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)  # noqa: S506
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a YAML text: {_one_line(str(error))}") from None
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path}: must hold 'key: value' lines, keys being {', '.join(known)}")
    return content


def _explain(problem: Any, known: Any) -> str:
    key = _one_line(str(problem["loc"][0]))
    if problem["type"] == "missing":
        return f"{key} is missing"
    if problem["type"] == "extra_forbidden":
        return f"{key} is unknown, the nearest known key is {_nearest(key, list(known))}"
    allowed = problem["msg"].replace("Input should be", "must be", 1)
    return f"{key} = {_one_line(repr(problem['input']))}: {allowed}"


def _nearest(key: str, known: list[str]) -> str:
    """The known key that was most likely meant; lr for learning_rate, though they share few letters."""
    initials = "".join(word[:1] for word in key.split("_"))
    return initials if initials in known else difflib.get_close_matches(key.lower(), known, n=1, cutoff=0)[0]


def _one_line(text: str, limit: int = 120) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[:limit] + "…"
