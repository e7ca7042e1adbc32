"""Intervals and errors, against scipy, statsmodels, and resampling."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from softmax_regression.results.statistics import (
    DEVIATIONS,
    half_width,
    mean_and_error,
    paired_difference,
    paired_share_interval,
    wilson_interval,
)


@given(st.integers(1, 10**6).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_wilsons_interval_is_that_of_scipy_and_statsmodels(share: tuple[int, int]) -> None:
    right, count = share
    found = wilson_interval(np.array(right), np.array(count))
    assert 0 <= found[0] <= right / count <= found[1] <= 1
    scipy_ends = stats.binomtest(right, count).proportion_ci(method="wilson")
    np.testing.assert_allclose(found, [scipy_ends.low, scipy_ends.high], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found, proportion_confint(right, count, method="wilson"), rtol=1e-9, atol=1e-12)


def test_where_all_are_right_the_interval_ends_at_exactly_1() -> None:
    counts = np.arange(1, 100_000)
    low, _ = wilson_interval(np.zeros_like(counts), counts)
    _, high = wilson_interval(counts, counts)
    assert (low == 0).all() and (high == 1).all()


def test_the_interval_of_mnists_test_accuracy() -> None:
    low, high = wilson_interval(np.array(9257), np.array(10_000))
    assert (round(float(low), 4), round(float(high), 4)) == (0.9204, 0.9307)


def test_of_no_images_every_share_is_possible() -> None:
    low, high = wilson_interval(np.array([0, 3]), np.array([0, 3]))
    assert (low[0], high[0], high[1]) == (0, 1, 1)


def test_95_percent_lie_within_the_deviations() -> None:
    assert pytest.approx(0.95, abs=1e-15) == stats.norm.cdf(DEVIATIONS) - stats.norm.cdf(-DEVIATIONS)


def test_the_mean_and_its_error_are_scipys_in_any_order() -> None:
    values = np.random.default_rng(0).gamma(0.3, 1.0, 1001)
    mean, error = mean_and_error(values)
    assert (mean, error) == pytest.approx((values.mean(), stats.sem(values)), rel=1e-12)
    assert mean_and_error(values[::-1]) == (mean, error)


def test_one_value_has_no_error() -> None:
    mean, error = mean_and_error(np.array([0.5]))
    assert mean == 0.5
    assert math.isnan(error)


def test_a_paired_difference_is_as_sure_as_the_differences_are() -> None:
    generator = np.random.default_rng(0)
    first = generator.gamma(0.3, 1.0, 500).astype(np.float32)
    second = (first + generator.normal(0.01, 0.02, 500)).astype(np.float32)
    difference, half = paired_difference(first, second)
    test = stats.ttest_rel(first.astype(np.float64), second.astype(np.float64))
    assert difference / (half / DEVIATIONS) == pytest.approx(test.statistic, rel=1e-9)
    assert half < 0.1 * DEVIATIONS * stats.sem(first)  # far surer than either mean


@pytest.mark.parametrize(("only_first", "only_second"), [(40, 70), (5, 12), (60, 60)])
def test_the_interval_of_paired_shares_is_that_of_resampling(only_first: int, only_second: int) -> None:
    generator, count = np.random.default_rng(0), 1000
    same = (count - only_first - only_second) / count
    drawn = generator.multinomial(count, [only_first / count, only_second / count, same], size=100_000)
    resampled = np.quantile((drawn[:, 1] - drawn[:, 0]) / count, [0.025, 0.975])
    np.testing.assert_allclose(paired_share_interval(only_first, only_second, count), resampled, atol=0.0015)


def test_models_that_agree_on_all_of_few_images_may_still_differ() -> None:
    low, high = paired_share_interval(0, 0, 10)
    assert -0.2 < low == -high < -0.1


@pytest.mark.parametrize("count", [2, 3, 10, 1000])
def test_few_values_are_less_sure_than_their_standard_error_says(count: int) -> None:
    values = np.arange(count, dtype=np.float64)
    mean, error = mean_and_error(values)
    low, _ = stats.t.interval(0.95, count - 1, loc=mean, scale=error)
    assert half_width(error, count) == pytest.approx(mean - low, rel=1e-6)


def test_what_one_value_does_not_tell_adds_nothing() -> None:
    assert half_width(math.nan, 1) == 0
