import math
import re
from dataclasses import astuple
from pathlib import Path

import pytest
from alone import PARAMETERS

from softmax_regression.base.errors import UserError
from softmax_regression.search import space
from softmax_regression.search.space import NAMES, SearchSpace, Setting
from softmax_regression.training.recipe import Recipe

COMMON = {name: getattr(PARAMETERS, name) for name in NAMES}


def read(folder: Path, text: str) -> SearchSpace:
    """Of a file with this text, and one value for each parameter that is not in it."""
    path = folder / "search.yaml"
    more = (f"{name}: {value}\n" for name, value in COMMON.items() if not re.search(f"^{name}:", text, re.MULTILINE))
    path.write_text(f"{text}\n{''.join(more)}")
    return SearchSpace.read(path)


def settings(folder: Path, text: str) -> list[Setting]:
    return read(folder, text).settings()


def column(found: list[Setting], name: str) -> list[object]:
    return [getattr(setting, name) for setting in found]


def test_combinations_come_in_the_order_of_params_yaml_whatever_that_of_the_file(tmp_path: Path) -> None:
    found = settings(tmp_path, "seed: [3, 1]\nlr: [0.2, 0.1]\nmomentum: 0\n")
    assert found == [
        Setting(**{**COMMON, "lr": lr, "momentum": 0.0, "seed": seed}) for lr in (0.2, 0.1) for seed in (3, 1)
    ]
    assert settings(tmp_path, "momentum: 0\nlr: [0.2, 0.1]\nseed: [3, 1]\n") == found


def test_a_setting_is_a_recipe_and_what_a_training_starts_from() -> None:
    assert {**vars(Recipe()), "init_std": 0.01, "seed": 0} == {"implementation": "scratch", **vars(Setting(**COMMON))}


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("lr: {from: 0.01, to: 1, count: 5, scale: log}", [0.01, 0.03162, 0.1, 0.3162, 1.0]),
        ("lr: {from: 0.1, to: 0.4, count: 4}", [0.1, 0.2, 0.3, 0.4]),
        ("lr: {from: 0.1, to: 0.2, count: 4}", [0.1, 0.1333, 0.1667, 0.2]),
        ("lr: {from: 0.123456, to: 0.123457, count: 2}", [0.123456, 0.123457]),
        ("lr: [0.5, 0.1, 0.50]", [0.5, 0.1]),
        ("lr: 2", [2.0]),
    ],
)
def test_learning_rates_as_they_are_written(text: str, values: list[float], tmp_path: Path) -> None:
    assert column(settings(tmp_path, text), "lr") == values


@pytest.mark.parametrize(
    ("text", "name", "values"),
    [
        ("seed: {from: 2, to: 5}", "seed", [2, 3, 4, 5]),
        ("epochs: [10, 5]", "epochs", [10, 5]),
        ("batch_size: [64, 256]", "batch_size", [64, 256]),
        ("lr_schedule: [cosine, constant]", "lr_schedule", ["cosine", "constant"]),
        ("init_std: {from: 0, to: 1, count: 3}", "init_std", [0.0, 0.5, 1.0]),
        ("weight_decay: [0, 1e-4]", "weight_decay", [0.0, 1e-4]),
        ("momentum: {from: 0.9, to: 0.99999, count: 2}", "momentum", [0.9, 0.99999]),
    ],
)
def test_each_parameter_can_be_searched(text: str, name: str, values: list[object], tmp_path: Path) -> None:
    assert column(settings(tmp_path, text), name) == values


DRAWN = """
draw: {count: 5, seed: 1}
lr: {from: 0.001, to: 10, scale: log}
momentum: {from: 0, to: 0.99}
lr_schedule: [linear, cosine]
"""
EXPECTED = [
    (0.06714, 0.7974, "linear"),
    (1.426, 0.668, "cosine"),
    (0.08978, 0.199, "cosine"),
    (3.981, 0.4727, "linear"),
    (0.6114, 0.7107, "linear"),
]


def test_draws_are_these_on_every_machine(tmp_path: Path) -> None:
    assert [(each.lr, each.momentum, each.lr_schedule) for each in settings(tmp_path, DRAWN)] == EXPECTED


def test_each_setting_that_is_drawn_has_every_seed(tmp_path: Path) -> None:
    found = settings(tmp_path, f"{DRAWN}seed: {{from: 3, to: 4}}")
    assert [(each.lr, each.momentum, each.lr_schedule, each.seed) for each in found] == [
        (*drawn, seed) for drawn in EXPECTED for seed in (3, 4)
    ]


def test_draws_of_a_parameter_do_not_depend_on_what_else_is_searched(tmp_path: Path) -> None:
    fewer = DRAWN.replace("momentum: {from: 0, to: 0.99}\n", "")
    assert column(settings(tmp_path, fewer), "lr") == [lr for lr, *_ in EXPECTED]
    another = settings(tmp_path, DRAWN.replace("seed: 1}", "seed: 2}"))
    assert not set(column(another, "lr")) & {lr for lr, *_ in EXPECTED}


def test_draws_spread_as_their_distributions_say(tmp_path: Path) -> None:
    text = "draw: 4000\nlr: {from: 0.001, to: 10, scale: log}\nmomentum: {from: 0.2, to: 0.6}\n"
    text += "batch_size: {from: 1, to: 4}"
    found = settings(tmp_path, text)
    assert len(set(found)) == 4000
    logarithms = [math.log10(each.lr) for each in found]
    assert -3 <= min(logarithms) < -2.99 and 0.99 < max(logarithms) <= 1
    assert sum(logarithms) / 4000 == pytest.approx(-1, abs=0.05)
    momenta = [each.momentum for each in found]
    assert 0.2 <= min(momenta) < 0.201 and 0.599 < max(momenta) <= 0.6
    assert sum(momenta) / 4000 == pytest.approx(0.4, abs=0.005)
    assert {900 < column(found, "batch_size").count(size) < 1100 for size in (1, 2, 3, 4)} == {True}
    assert all(float(f"{value:.4g}") == value for each in found for value in (each.lr, each.momentum))


def test_all_of_a_few_combinations_can_be_drawn(tmp_path: Path) -> None:
    found = settings(tmp_path, "draw: 6\nlr: [1, 2, 3]\nmomentum: [0, 0.5]")
    assert sorted(map(astuple, found)) == sorted(map(astuple, settings(tmp_path, "lr: [1, 2, 3]\nmomentum: [0, 0.5]")))


RANGE = "must have from and to, and may have count and scale"
DRAW = "must be a count, or have a count and may have a seed"
UNKNOWN = f"cannot be searched; what can is {', '.join(NAMES)}"
RUNGS = "must be epochs from 1 on, each one greater than the one before"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr: []", "lr = []: must hold a value at least"),
        ("lr:", "lr = None: None must be a valid number"),
        ("lr: [0.1, 0]", "lr = [0.1, 0]: 0 must be greater than 0"),
        ("lr: [[0.1]]", "lr = [[0.1]]: [0.1] must be a valid number"),
        ("lr: [0.1, .nan]", "lr = [0.1, nan]: nan must be a finite number"),
        ("momentum: 1", "momentum = 1: 1 must be less than 1"),
        ("lr_schedule: [step]", "lr_schedule = ['step']: 'step' must be 'constant', 'linear' or 'cosine'"),
        ("epochs: 1.5", "epochs = 1.5: 1.5 must be a valid integer"),
        ("seed: [true]", "seed = [True]: True must be a valid integer"),
        ("lr: {from: 1, to: 0.1, count: 3}", "lr = {'count': 3, 'from': 1, 'to': 0.1}: from must be less than to"),
        ("lr: {from: 1, to: 1, count: 3}", "lr = {'count': 3, 'from': 1, 'to': 1}: from must be less than to"),
        ("lr: {from: 0, to: 1, count: 3}", "lr = {'count': 3, 'from': 0, 'to': 1}: 0 must be greater than 0"),
        ("lr: {from: 1}", f"lr = {{'from': 1}}: {RANGE}"),
        ("lr: {}", f"lr = {{}}: {RANGE}"),
        ("lr: {from: 1, to: 2, step: 1}", f"lr = {{'from': 1, 'step': 1, 'to': 2}}: {RANGE}"),
        ("lr: {from: 1, to: 2}", "lr = {'from': 1, 'to': 2}: count must be from 2 to 10000 where nothing is drawn"),
        *(
            (f"lr: {{from: 1, to: 2, count: {text}}}", f"lr = {{'count': {value}, 'from': 1, 'to': 2}}: {told}")
            for told in ["count must be from 2 to 10000"]
            for text, value in (("1", "1"), ("true", "True"), ("10001", "10001"), ("2.0", "2.0"))
        ),
        (
            "init_std: {from: 0, to: 1, count: 3, scale: log}",
            "init_std = {'count': 3, 'from': 0, 'scale': 'log', 'to': 1}: "
            "from must be greater than 0, as the scale is log",
        ),
        (
            "lr: {from: 1, to: 2, count: 3, scale: cubic}",
            "lr = {'count': 3, 'from': 1, 'scale': 'cubic', 'to': 2}: scale must be linear or log",
        ),
        (
            "lr_schedule: {from: linear, to: cosine}",
            "lr_schedule = {'from': 'linear', 'to': 'cosine'}: must be a list, as there is no range of words",
        ),
        (
            "seed: {from: 0, to: 1000000000}",
            "seed = {'from': 0, 'to': 1000000000}: must hold at most 1000000000 numbers",
        ),
        (
            "seed: {from: 0, to: 9, count: 3}",
            "seed = {'count': 3, 'from': 0, 'to': 9}: "
            "must have from and to alone, as it means all whole numbers between",
        ),
        (
            "lr: {from: 0.1, to: 0.10002, count: 10}",
            "lr = {'count': 10, 'from': 0.1, 'to': 0.10002}: "
            "count must be 2 at most, as numbers between are rounded to four digits",
        ),
        ("dataset: [mnist, digits]", f"dataset = ['mnist', 'digits']: {UNKNOWN}"),
        ("learning_rate: 0.1", f"learning_rate = 0.1: {UNKNOWN}"),
        *(
            (f"draw: {text}\nlr: 1", f"draw = {value}: {DRAW}")
            for text, value in (("x", "'x'"), ("true", "True"), ("{seed: 1}", "{'seed': 1}"), ("[1]", "[1]"))
        ),
        ("draw: 0\nlr: 1", "draw = 0: count must be from 1 to 10000"),
        ("draw: {count: 10001}\nlr: 1", "draw = {'count': 10001}: count must be from 1 to 10000"),
        ("draw: x\nlr: {from: 1, to: 2}", f"draw = 'x': {DRAW}"),
        *(
            (f"lr: 1\nrungs: {text}", f"rungs = {text}: {RUNGS}")
            for text in ("[2, 1]", "[1, 1]", "0", "[1.5]", "[True]")
        ),
        ("lr: 0\nmomentum: 1", "lr = 0: 0 must be greater than 0; momentum = 1: 1 must be less than 1"),
    ],
)
def test_what_is_wrong_in_the_file_is_told_in_a_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        read(tmp_path, text)
    assert str(refused.value) == f"{tmp_path / 'search.yaml'}: {message}"


@pytest.mark.parametrize("text", ["lr: [", "- lr", "lr: 1\nlr: 2", "\0"])
def test_what_is_no_yaml_is_told_as_of_params_yaml(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"search\.yaml: (not a YAML text|must hold 'key: value' lines)") as refused:
        read(tmp_path, text)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "seed: {from: 0, to: 999999}\nlr: {from: 1, to: 2, count: 10}",
            "10000000 trainings, more than 10000: shorten the lists, or draw fewer",
        ),
        ("draw: 5000\nseed: [1, 2, 3]", "15000 trainings, more than 10000: shorten the lists, or draw fewer"),
        ("draw: 3\nlr: [1, 2]", "draw = 3: only 2 different settings were found"),
        ("draw: 9\nlr: {from: 1.0, to: 1.004}", "draw = 9: only 5 different settings were found"),
        ("lr: 1\nrungs: [2, 30]", "rungs = [2, 30]: must be less than epochs, 30"),
        ("epochs: [5, 3]\nrungs: 5", "rungs = [5]: must be less than epochs, 5"),
    ],
)
def test_settings_that_are_too_many_or_too_few_are_told_in_a_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        settings(tmp_path, text)
    assert str(refused.value) == f"search/search.yaml: {message}"


def test_as_many_settings_as_allowed_are_listed(tmp_path: Path) -> None:
    text = "seed: {from: 1, to: 100}\nlr: {from: 1, to: 2, count: 100}"
    assert len(set(settings(tmp_path, text))) == space.MOST_SETTINGS


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text("lr: [0.1, 0.2]\nmomentum: 0.9\nepochs: 1\ninit_std: 0\nbatch_size: 9\n")
    with pytest.raises(UserError) as refused:
        SearchSpace.read(tmp_path / "search.yaml")
    told = "lr_schedule is missing; weight_decay is missing; seed is missing"
    assert str(refused.value) == f"{tmp_path / 'search.yaml'}: {told}"
