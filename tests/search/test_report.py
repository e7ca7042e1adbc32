import shlex
from dataclasses import replace

import numpy as np
import pytest
import yaml
from alone import SETTING

from softmax_regression.base.errors import UserError
from softmax_regression.search import report
from softmax_regression.search.member import Member
from softmax_regression.training.record import EpochRecord


def trained(number: int, lr: float, seed: int, *valid_costs: float) -> Member:
    records = [EpochRecord(epoch, 9.0, cost, 1 - cost) for epoch, cost in enumerate(valid_costs)]
    setting = replace(SETTING, lr=lr, seed=seed, epochs=2)
    return Member(number, setting, records, "trained", f"sha-{number}")


MEMBERS = [
    trained(0, 0.1, 1, 0.9, 0.3),
    trained(1, 0.1, 2, 0.9, 0.5),
    trained(2, 0.2, 1, 0.9, 0.3),
    trained(3, 0.2, 2, 0.9, 0.3),
    replace(trained(4, 0.3, 1, 0.8), end="stopped", model_sha256=""),
    trained(5, 0.3, 2, 0.7, 0.1),
    Member(6, replace(SETTING, lr=1e36, seed=1), [], "diverged"),
]


def test_there_is_a_row_for_each_by_the_names_of_params_yaml() -> None:
    rows = [dict(zip(report.COLUMNS, row, strict=True)) for row in report.rows(MEMBERS)]
    common = {
        "init_std": 0.5, "lr_schedule": "linear", "epochs": 2, "batch_size": 7, "momentum": 0.9, "weight_decay": 0.0,
    }  # fmt: skip
    assert rows[1] == {
        **common, "lr": 0.1, "seed": 2, "valid_cost": 0.5, "valid_accuracy": 0.5, "end": "trained", "epochs_done": 2,
        "sha256": "sha-1",
    }  # fmt: skip
    stopped = {"valid_cost": 0.8, "end": "stopped", "epochs_done": 1, "sha256": ""}
    assert {name: rows[4][name] for name in stopped} == stopped
    diverged = {"valid_cost": "", "valid_accuracy": "", "end": "diverged", "epochs_done": 0, "sha256": ""}
    assert {name: rows[6][name] for name in diverged} == diverged


def test_settings_are_ranked_by_the_mean_over_their_seeds_if_all_of_these_were_trained() -> None:
    ranked = report.rank(MEMBERS)
    assert [[member.number for member in each.members] for each in ranked] == [[2, 3], [0, 1]]
    assert [each.cost for each in ranked] == [0.3, 0.4]
    assert [each.error for each in ranked] == pytest.approx([0, 0.1])


def test_where_nothing_could_be_trained_it_is_said() -> None:
    with pytest.raises(UserError, match=r"^search/search\.yaml: no setting could be trained to the end"):
        report.rank(MEMBERS[4:5] + MEMBERS[6:])


IMAGES = {
    number: np.array(costs)
    for number, costs in {
        0: [0.2, 0.4, 0.2, 0.4], 1: [0.4, 0.6, 0.4, 0.6],
        2: [0.2, 0.4, 0.2, 0.4], 3: [0.2, 0.4, 0.2, 0.4],
        5: [0.3, 0.4, 0.5, 0.2], 6: [0.3, 0.4, 0.3, 0.4],
        7: [0.4, 0.6, 0.4, 0.6], 8: [0.4, 0.6, 0.4, 0.6],
    }.items()
}  # fmt: skip


def test_differences_are_taken_image_by_image_and_seed_by_seed() -> None:
    members = [*MEMBERS[:4], *(trained(number, number // 2, number % 2 + 1, 0.9, 0.35) for number in (5, 6, 7, 8))]
    members = [
        replace(each, setting=replace(each.setting, lr=lr))
        for each, lr in zip(members, (1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0), strict=True)
    ]
    found = report.table(report.rank(members), ["lr"], IMAGES)
    # 3.0: the images differ by 0.1, 0, 0.2 and −0.1, their mean error is √(0.05/3/4); both seeds by 0.05.
    # 4.0: each image by 0.2, and each seed. 1.0: each image by 0.1, but the seeds by 0 and 0.2, and t is 12.7 for two.
    assert found.splitlines() == [
        "valid_cost         above the best (95 %)  lr   valid_accuracy",
        "0.30000 ± 0.00000  best                   2.0  0.7000",
        "0.35000 ± 0.00000  0.05000 ± 0.12652 ≈    3.0  0.6500",
        "0.35000 ± 0.00000  0.20000 ± 0.00000      4.0  0.6500",
        "0.40000 ± 0.10000  0.10000 ± 1.27062 ≈    1.0  0.6000",
    ]


def test_of_one_image_nothing_stands_after_the_difference() -> None:
    members = [trained(0, 0.1, 1, 0.9, 0.3), trained(1, 0.2, 1, 0.9, 0.4)]
    found = report.table(report.rank(members), [], {0: np.array([0.3]), 1: np.array([0.4])})
    assert found.splitlines()[2] == "0.40000     0.10000                0.6000"


def test_the_report_counts_names_what_varies_and_ends_with_the_command_for_the_best() -> None:
    members = [replace(member, setting=replace(member.setting, seed=1)) for member in MEMBERS[:4:2]] + MEMBERS[4:]
    lines = report.summary(members, report.rank(members[:2]), IMAGES, "pixels")
    first, *_, sha256, command = lines.splitlines()
    assert (
        first
        == "5 trainings: 3 to the end, 1 stopped, 1 diverged. valid_cost is in nats; another seed would change it."
    )
    assert sha256 == "sha-0"
    assert command == report.command(members[0].setting, "pixels")
    assert " ± " not in lines.split("valid_accuracy")[1].splitlines()[1]


def test_no_more_than_the_first_twenty_are_listed() -> None:
    members = [trained(number, 1.0 + number, 0, 0.9, 0.5) for number in range(25)]
    text = report.summary(members, report.rank(members), dict.fromkeys(range(25), np.array([0.5, 0.5])), "pixels")
    assert text.count("0.50000") == 20
    assert "\nand 5 more: search/results.csv\n" in text


def test_the_command_sets_all_that_determines_the_model() -> None:
    words = shlex.split(report.command(replace(SETTING, lr=1e-5), "scattering"))
    assert words[:3] == ["dvc", "exp", "run"] and words[3::2] == ["-S"] * 10
    assert words[4::2] == [
        "features=scattering", "implementation=scratch", "init_std=0.5", "lr=1e-05", "lr_schedule=linear", "epochs=4",
        "batch_size=7", "momentum=0.9", "weight_decay=0.0", "seed=3",
    ]  # fmt: skip


def test_the_best_is_told_as_yaml_with_the_figures_of_its_first_seed() -> None:
    text = report.best(report.rank(MEMBERS)[0], "the table\n\nthe command\n")
    assert text.startswith("# the table\n#\n# the command\ninit_std: 0.5\n")
    assert "\nseed: 1  # the first one, of which the figures below are\n" in text
    best = yaml.safe_load(text)
    assert list(best) == list(report.COLUMNS)
    expected = {"lr": 0.2, "seed": 1, "valid_cost": 0.3, "valid_accuracy": 0.7, "epochs_done": 2, "sha256": "sha-2"}
    assert {name: best[name] for name in expected} == expected
