"""How sure a figure is: intervals of shares, and means with their standard errors."""

import math

import numpy as np

DEVIATIONS = 1.959963984540054
"""Standard deviations to either side of a normal mean that hold 95 %."""


def wilson_interval(right: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of the shares `right` of `count`, whole numbers of any one shape; 0 to 1 where count is 0.

    Wilson, Probable inference, the law of succession, and statistical inference (1927). Written out, since a stage
    would import scipy's for 0.8 s and its last digit is the platform's; equal to scipy's and statsmodels' (tests).
    """
    square = DEVIATIONS * DEVIATIONS

    def low(right: np.ndarray) -> np.ndarray:
        half = DEVIATIONS * np.sqrt(right * (count - right) / np.maximum(count, 1) + square / 4)
        return (right + square / 2 - half) / (count + square)

    return low(right), 1 - low(count - right)  # so that the upper end is exactly 1 where all are right


def with_interval(share: float, low: float, high: float) -> str:
    """A share and its interval as people read them: 0.9387 (0.9323 to 0.9445)."""
    return f"{share:.4f} ({low:.4f} to {high:.4f})"


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """The mean of values [N] and its standard error, which is not a number for one value.

    math.fsum rounds once, whatever the order; np.sum does not add in the same one everywhere.
    """
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, math.nan
    deviations = values - mean
    return mean, math.sqrt(math.fsum(deviations * deviations) / (len(values) - 1) / len(values))


def half_width(error: float, count: int) -> float:
    """What stands after the ± (95 %) of a mean of so few values that their standard error is itself uncertain.

    Student, The probable error of a mean (1908); 0 for one value, which tells nothing of how far others would lie.
    """
    if count == 1:
        return 0.0
    from scipy.special import stdtrit  # here, as the stages but for a search do without its 0.3 s

    return round(float(stdtrit(count - 1, 0.975)), 6) * error  # rounded, as its last digit is the platform's


def paired_difference(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """How much larger the mean of `first` [N] is than that of `second` [N], of the same images, and ± what (95 %).

    Image by image, so that what is hard for both leaves the error: it is far smaller than that of either mean.
    """
    mean, error = mean_and_error(np.asarray(first, np.float64) - second)
    return mean, DEVIATIONS * error


def paired_share_interval(only_first: int, only_second: int, count: int) -> tuple[float, float]:
    """The 95 % interval of how much larger the second of two shares of the same `count` is.

    `only_first` and `only_second` are counted in one of the shares alone. Agresti and Min, Simple improved confidence
    intervals for comparing matched proportions (2005): half an observation more of each kind, so that it holds for few.
    """
    difference, total = only_second - only_first, count + 2
    half = DEVIATIONS * math.sqrt(only_first + only_second + 1 - difference * difference / total)
    return (difference - half) / total, (difference + half) / total
