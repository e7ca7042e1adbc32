"""What the pictures of a search show, and that nothing of it lies upon something else."""

import io
import itertools
import math
import warnings
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from alone import SETTING
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from softmax_regression.results.figures import BLACK, RED
from softmax_regression.search.member import Member
from softmax_regression.search.plots import BLUE, draw, highest_shown, scale
from softmax_regression.search.results import results_of
from softmax_regression.training.record import EpochRecord

RATES, MOMENTA = (0.01, 0.1, 1.0, 10.0), (0.0, 0.9)


def member(cost: float, end: Literal["trained", "stopped"] = "trained", **parameters: Any) -> Member:
    """One whose last cost is this; diverged in its first epoch where that is infinite."""
    records = [EpochRecord(0, 3.0, 3.0, 0.1), EpochRecord(1, cost, cost, 0.9)] if math.isfinite(cost) else []
    setting = replace(SETTING, **parameters)
    return Member(0, setting, records, "diverged" if math.isinf(cost) else end)


def cost_of(lr: float, momentum: float) -> float:
    return 0.25 + 0.01 * math.log10(lr * (2 if momentum else 1)) ** 2


GRID = [member(cost_of(lr, momentum), lr=lr, momentum=momentum) for lr in RATES for momentum in MOMENTA]
SEEDS = [
    member(cost_of(lr, 0.9) + 0.001 * seed + schedule_cost, lr=lr, lr_schedule=schedule, seed=seed)
    for lr in RATES
    for schedule_cost, schedule in ((0.0, "linear"), (0.02, "cosine"))
    for seed in (0, 1, 5)
]
"""Means lie 0.002 above the cost of seed 0."""
ENDS = [
    *GRID,
    *(member(0.24, "stopped", lr=0.03, momentum=momentum) for momentum in MOMENTA),
    *(member(900.0, lr=30.0, momentum=momentum) for momentum in MOMENTA),
    *(member(math.inf, lr=100.0, momentum=momentum) for momentum in MOMENTA),
]
GENERATOR = np.random.default_rng(0)
DRAWN = [
    member(
        cost,
        lr=float(10**lr),
        momentum=float(momentum),
        weight_decay=float(10**weight_decay),
        lr_schedule=("linear", "cosine", "constant")[number % 3],
        init_std=(0.0, 0.01)[number % 2],
    )
    for number, (cost, lr, momentum, weight_decay) in enumerate(
        GENERATOR.uniform((0.25, -3, 0, -6), (1, 2, 1, -2), (1000, 4)).tolist()
    )
]
SEARCHES = {
    "grid": GRID,
    "seeds": SEEDS,
    "ends": ENDS,
    "drawn": DRAWN,
    "all parameters": [
        member(
            0.3 + 0.01 * number,
            lr=0.1 * 2**number,
            momentum=number / 10,
            init_std=1e-5 * number,
            lr_schedule=schedule,
            epochs=number + 1,
            batch_size=2**number,
            weight_decay=number / 3e4,
            seed=seed,
        )
        for number in range(9)
        for schedule in ("constant", "cosine")
        for seed in (0, 1)
    ],
    "one setting": [member(0.3 + 0.01 * seed, seed=seed) for seed in range(3)],
    "rates close together": [member(0.3 + lr / 10, lr=lr) for lr in (0.1, 0.11, 0.12, 10.0)],
    "rates all close together": [member(0.3 + lr / 10, lr=0.1 + lr / 1000, momentum=0.5) for lr in range(12)],
    "two equal": [member(0.3, lr=lr, momentum=lr) for lr in (0.1, 0.2)],
    "no cost at all": [member(0.0, lr=lr, momentum=lr) for lr in (0.1, 0.2)],
    "only one trained": [member(0.3, lr=0.1), *(member(math.inf, lr=lr, momentum=0.5) for lr in (1.0, 2.0))],
}


@pytest.mark.parametrize("name", SEARCHES)
def test_drawn_twice_a_search_gives_the_same_bytes_without_a_warning(name: str) -> None:
    pictures = []
    for _ in range(2):
        figures = draw(SEARCHES[name])
        files = {kind: io.BytesIO() for kind in figures}
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a layout that does not fit, a logarithm of 0
            for kind, figure in figures.items():
                figure.savefig(files[kind], dpi=40, metadata={"Software": None})
        pictures.append({kind: file.getvalue() for kind, file in files.items()})
    assert pictures[0] == pictures[1] and pictures[0]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("grid", {"cost_over_lr", "parallel_coordinates"}),
        ("seeds", {"cost_over_lr", "parallel_coordinates", "seeds"}),
        ("one setting", {"seeds"}),
    ],
)
def test_only_those_pictures_are_drawn_that_make_sense(name: str, kinds: set[str]) -> None:
    assert draw(SEARCHES[name]).keys() == kinds


def test_nothing_is_drawn_where_nothing_was_trained_to_the_end() -> None:
    assert draw([]) == {} and draw([member(math.inf, lr=lr, momentum=lr) for lr in (0.1, 0.2)]) == {}


def test_of_whatever_was_trained_there_is_a_picture() -> None:
    assert draw([member(0.3, lr=0.1)]).keys() == {"cost_over_lr"}
    assert draw([member(0.3, lr=lr, lr_schedule="linear") for lr in (0.1, 0.2)]).keys() == {"cost_over_lr"}
    assert draw([member(0.3, lr=0.1, momentum=momentum) for momentum in (0.1, 0.2)]).keys() == {"parallel_coordinates"}


def test_a_result_is_the_mean_over_seeds_and_one_that_diverges_spoils_it() -> None:
    diverging = [member(0.1, lr=9.0, seed=0), member(math.inf, lr=9.0, seed=1)]
    best, *_, last = results_of([*diverging, *SEEDS])
    assert (best.setting.lr, best.setting.lr_schedule) == (1.0, "linear")
    np.testing.assert_allclose((best.cost, best.costs[0]), (cost_of(1.0, 0.9) + 0.002, cost_of(1.0, 0.9)))
    assert last.setting.lr == 9.0 and math.isinf(last.cost)


def test_the_stopped_come_after_the_trained_even_with_lower_costs() -> None:
    results = results_of(ENDS)
    assert [result.is_stopped for result in results] == [False] * 10 + [True, True, False, False]
    assert [result.cost for result in results[9:12]] == [900, 0.24, 0.24]


def test_the_axis_shows_a_whole_valley_but_no_peaks_beyond() -> None:
    valley = [1 + (number / 10) ** 2 for number in range(-10, 11)]
    for costs, highest in ((valley, 2.0), ([*valley, 2.5, math.inf], 2.0), ([1.0, 1.0, 5.0], 5.0)):
        results = results_of([member(cost, lr=number + 1.0) for number, cost in enumerate(costs)])
        assert highest_shown(results) == highest


def test_few_values_and_words_lie_evenly() -> None:
    assert scale([0.9, 0.0, 0.5, 0.9]) == ({0.0: 0, 0.5: 0.5, 0.9: 1}, {0: "0", 0.5: "0.5", 1: "0.9"})
    assert scale(["linear", "cosine"]) == ({"cosine": 0, "linear": 1}, {0: "cosine", 1: "linear"})


def test_many_numbers_lie_in_proportion_and_over_decades_in_that_of_their_logarithms() -> None:
    places, ticks = scale([float(number) for number in range(11)])
    assert places[3.0] == pytest.approx(0.3) and {round(place, 9): text for place, text in ticks.items()}[0.4] == "4"
    places, ticks = scale([10.0**-number for number in range(11)])
    assert places[1e-4] == pytest.approx(0.6) and "1e-06" in ticks.values()


def test_0_lies_a_decade_below_the_other_numbers_on_a_logarithmic_axis() -> None:
    places, ticks = scale([0.0, *(10.0**-number for number in range(10))])
    assert places[0.0] == 0 and places[1e-9] == pytest.approx(0.1) and places[1.0] == 1
    assert ticks[0] == "0"


def lines_of(figure: Figure) -> list[list[list[float]]]:
    """The points of the lines that join the best."""
    axes = figure.axes[-1]
    return [np.round(np.asarray(each.lines[0].get_xydata()), 9).tolist() for each in axes.containers]  # type: ignore[attr-defined]


def dots_of(axes: Axes) -> list[list[float]]:
    """The places of the dots, in their order."""
    groups = [np.ma.filled(each.get_offsets(), np.nan) for each in axes.collections if isinstance(each, PathCollection)]
    dots = np.vstack(groups)
    return sorted(dots[np.isfinite(dots).all(axis=1)].round(9).tolist())


def test_a_line_for_each_momentum_joins_the_costs_in_the_order_of_the_rates() -> None:
    figure = draw(GRID)["cost_over_lr"]
    assert lines_of(figure) == [
        [
            [lr, round(cost_of(lr, momentum), 9)]
            for lr in RATES
            if cost_of(lr, momentum) <= highest_shown(results_of(GRID))
        ]
        for momentum in MOMENTA
    ]
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.2500 at 1"]
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "momentum" and [text.get_text() for text in legend.texts] == ["0", "0.9"]


def test_other_parameters_lines_join_their_means_over_the_seeds() -> None:
    figure = draw(SEEDS)["cost_over_lr"]
    (axes,) = (each for each in figure.axes if each.get_xlabel())
    cosine, linear = lines_of(figure)
    assert [1.0, round(cost_of(1.0, 0.9) + 0.022, 9)] in cosine and [1.0, round(cost_of(1.0, 0.9) + 0.002, 9)] in linear
    assert axes.get_ylabel() == "validation cost ± standard error (nats)"
    assert [text.get_text() for text in figure.legends[0].texts] == ["cosine", "linear"]


def test_where_more_varies_lines_join_the_best_and_dots_show_the_rest() -> None:
    worse = [
        replace(
            each,
            setting=replace(each.setting, weight_decay=0.5),
            records=[EpochRecord(0, 0, last.valid_cost + 0.003, 0)],
        )
        for each in GRID
        for last in each.records[-1:]
    ]
    figure = draw([*worse, *GRID])["cost_over_lr"]
    assert [1.0, 0.25] in lines_of(figure)[0] and [1.0, 0.253] not in lines_of(figure)[0]
    assert [1.0, 0.253] in dots_of(figure.axes[-1])
    assert figure.axes[0].get_title() == "16 settings\nlines join the best at each learning rate"


def test_learning_rates_that_were_drawn_are_not_joined() -> None:
    figure = draw(DRAWN)["cost_over_lr"]
    assert not figure.axes[-1].containers
    expected = sorted([each.setting.lr, each.records[-1].valid_cost] for each in DRAWN)
    np.testing.assert_allclose(dots_of(figure.axes[-1]), expected, atol=1e-9)


def test_what_is_beyond_the_axis_is_marked_above_it() -> None:
    strip, axes = draw(ENDS)["cost_over_lr"].axes
    assert dots_of(strip) == [[30.0, 0.0], [30.0, 0.0], [100.0, 1.0], [100.0, 1.0]]
    assert len(dots_of(axes)) == sum(result.cost <= highest_shown(results_of(ENDS)) for result in results_of(ENDS))
    assert [label.get_text() for label in strip.get_yticklabels()] == ["above 0.29", "diverged"]
    assert axes.get_ylim()[1] < 0.32


def test_the_stopped_are_hollow_and_in_no_line() -> None:
    figure = draw(ENDS)["cost_over_lr"]
    _, high = (each for each in figure.axes[1].collections if isinstance(each, PathCollection))
    (place,) = np.flatnonzero(np.asarray(high.get_offsets())[:, 0] == 0.03)
    faces, edges = np.asarray(high.get_facecolor()), np.asarray(high.get_edgecolor())
    assert faces[place, 3] == 0 and edges[place, 3] == 1 and (np.delete(faces, place, axis=0)[:, 3] == 1).all()
    assert [[lr for lr, _ in line] for line in lines_of(figure)] == [[0.01, 0.1, 1, 10]] * 2
    assert figure.legends[0].texts[-1].get_text() == "stopped at a\nrung: cost there"


def bundles(figure: Figure) -> dict[str, LineCollection]:
    return {str(each.get_label()): each for each in figure.axes[0].collections if isinstance(each, LineCollection)}


def test_the_best_lines_stand_out_and_pass_through_their_settings() -> None:
    drawn = bundles(draw(DRAWN)["parallel_coordinates"])
    assert {kind: len(each.get_segments()) for kind, each in drawn.items()} == {
        "trained to the end": 990,
        "next 9": 9,
        "best": 1,
    }
    colours = [to_rgb(np.asarray(each.get_edgecolor())[0]) for each in drawn.values()]
    assert colours == [*map(to_rgb, (BLACK, BLUE, RED))]
    best = results_of(DRAWN)[0].setting
    (line,) = drawn["best"].get_segments()
    names = ("init_std", "lr", "lr_schedule", "momentum", "weight_decay")
    expected = [scale([getattr(each.setting, name) for each in DRAWN])[0][getattr(best, name)] for name in names]
    np.testing.assert_allclose(line[:, 1], [*expected, 0], atol=0.045)  # half of what lines are fanned out by
    texts = [text.get_text() for text in draw(DRAWN)["parallel_coordinates"].axes[0].texts]
    assert {f"{best.lr:g}", best.lr_schedule, f"{best.momentum:g}"} <= {*texts}


def test_of_lines_through_one_value_none_hides_another() -> None:
    for column in range(2):
        ends = [
            line[column, 1]
            for each in bundles(draw(GRID)["parallel_coordinates"]).values()
            for line in each.get_segments()
        ]
        assert len({round(end, 6) for end in ends}) == len(GRID)


def test_the_stopped_are_dashed_and_the_diverged_end_above_the_costs() -> None:
    figure = draw(ENDS)["parallel_coordinates"]
    drawn = bundles(figure)
    kinds = ("stopped at a rung", "diverged", "trained to the end")
    stopped, diverged, trained = ({line[-1, 1] for line in drawn[kind].get_segments()} for kind in kinds)
    styles: list[Any] = [drawn[kind].get_linestyle() for kind in (kinds[0], kinds[2])]
    assert [pattern is None for ((_, pattern),) in styles] == [False, True]
    above = max(trained)  # of a cost beyond the axis
    assert stopped == {0.0} and min(diverged) > above > 1 > min(trained)
    labels = {text.get_text(): text.xy[1] for text in figure.axes[0].texts if hasattr(text, "xy")}
    assert {labels["diverged"]} == diverged and labels["above 0.29"] == above


def test_the_seeds_of_each_setting_lie_in_its_row_the_best_first() -> None:
    axes = draw(SEEDS)["seeds"].axes[0]
    dots, *_ = axes.lines
    results = results_of(SEEDS)
    shown = [result for result in results if result.cost <= highest_shown(results)]
    expected = [(cost, row) for row, result in enumerate(shown) for cost in result.costs]
    np.testing.assert_allclose(np.asarray(dots.get_xydata(), float), expected)
    (bars,) = axes.containers
    (low, _), (high, row) = np.array(bars[2][0].get_segments()[0]).tolist()
    mean, error = shown[0].cost, np.std([0, 0.001, 0.005], ddof=1) / math.sqrt(3)
    np.testing.assert_allclose([low, high, row], [mean - float(error), mean + float(error), 0])
    rows = [label.get_text().split() for label in axes.get_yticklabels()]
    assert rows == [[f"{each.setting.lr:g}", each.setting.lr_schedule] for each in shown]
    assert [text.get_text().split() for text in axes.texts] == [["learning", "learning", "rate", "rate", "schedule"]]


def test_the_seeds_of_twenty_settings_are_drawn_at_most() -> None:
    many = [member(0.3 + 0.001 * row, lr=row + 1.0, seed=seed) for row in range(30) for seed in (0, 1)]
    axes = draw(many)["seeds"].axes[0]
    assert len(axes.get_yticks()) == 20 and axes.get_title() == "the best 20 of 30 settings"


def labels_of(axes: Axes) -> list[Text]:
    """All that is written in and around axes, and drawn: they keep ticks beyond their ends."""
    ticks = [
        tick.label1 if tick.label1.get_visible() else tick.label2
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim()))
        for tick in axis.get_major_ticks()
        if min(limits) <= tick.get_loc() <= max(limits)
    ]
    return [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label, *ticks]


@pytest.mark.parametrize("name", SEARCHES)
def test_no_label_lies_upon_another_nor_leaves_the_picture(name: str) -> None:
    for figure in draw(SEARCHES[name]).values():
        figure.draw_without_rendering()
        assert_readable(figure)


def assert_readable(figure: Figure) -> None:
    labels = [*figure.texts, *itertools.chain(*map(labels_of, figure.axes)), *figure.legends[0].texts]
    areas = [(text.get_text(), text.get_window_extent()) for text in labels if text.get_text() and text.get_visible()]
    for text, area in areas:
        assert 0 <= area.x0 < area.x1 <= figure.bbox.x1 and 0 <= area.y0 < area.y1 <= figure.bbox.y1, text
    for (text, area), (other, place) in itertools.combinations(areas, 2):
        assert not area.overlaps(place), (text, other)
