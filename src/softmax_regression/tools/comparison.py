"""Two models compared on the test images, prediction by prediction."""

from dataclasses import dataclass

import numpy as np
from dvc.api import DVCFileSystem
from dvc.exceptions import DvcException
from dvc.scm import RevError

from softmax_regression.base.errors import UserError, one_line
from softmax_regression.base.files import parse_csv
from softmax_regression.results.statistics import paired_share_interval, wilson_interval, with_interval

PREDICTIONS, TEST_IMAGES = "metrics/predictions.csv", "data/test.safetensors"
LEVEL = 0.05
"""Above it, chance alone could explain a difference."""


@dataclass(frozen=True)
class Comparison:
    """Models A and B on the same test images; the ends of intervals are those of 95 %."""

    a: str
    b: str
    images: int
    both_right: int
    only_a_right: int
    only_b_right: int
    both_wrong: int
    a_accuracy: float
    a_low: float
    a_high: float
    b_accuracy: float
    b_low: float
    b_high: float
    difference: float
    """The accuracy of B less that of A."""
    difference_low: float
    difference_high: float
    mcnemar_p: float
    """How likely two models that are equally good differ by at least as much (McNemar, 1947, exact)."""

    @property
    def conclusion(self) -> str:
        """What may be concluded."""
        if self.mcnemar_p > LEVEL:
            return (
                f"Chance alone could explain the difference: these {self.images:,} images do not tell which is better."
            )
        better, worse = (self.b, self.a) if self.difference > 0 else (self.a, self.b)
        return f"{better} is right more often than {worse}, beyond chance, on images like these."

    def __str__(self) -> str:
        width = max(len(self.a), len(self.b))
        return "\n".join(
            [
                f"{self.images:,} test images; intervals are those of 95 %",
                f"{self.a:{width}}  accuracy {with_interval(self.a_accuracy, self.a_low, self.a_high)}",
                f"{self.b:{width}}  accuracy {with_interval(self.b_accuracy, self.b_low, self.b_high)}",
                f"both right {self.both_right:,}, both wrong {self.both_wrong:,}",
                f"only {self.a} right {self.only_a_right:,}",
                f"only {self.b} right {self.only_b_right:,}",
                f"difference {self.difference:+.4f} ({self.difference_low:+.4f} to {self.difference_high:+.4f})",
                f"exact McNemar test: p = {self.mcnemar_p:.3g}",
                self.conclusion,
                "To choose between models, use the held-out images: softmax experiments",
            ]
        )


def compare(a: str, b: str, root: str) -> Comparison:
    """Compare what two revisions predicted; each is a commit, a branch, a tag, an experiment's name, or `workspace`.

    Raises UserError where one has no predictions, or they are of other images.
    """
    (images, right_a), (other_images, right_b) = _read(root, a), _read(root, b)
    if images != other_images:
        raise UserError(f"{a} and {b} were tested on different images, which cannot tell which model is better")
    return compare_right(a, right_a, b, right_b)


def compare_right(a: str, right_a: np.ndarray, b: str, right_b: np.ndarray) -> Comparison:
    """Compare models by which of the same N images they are right on, bool [N] each."""
    from scipy.stats import binomtest  # here: it takes 0.8 s

    count = len(right_a)
    both, only_a, only_b = (int(n.sum()) for n in (right_a & right_b, right_a & ~right_b, right_b & ~right_a))
    low, high = wilson_interval(np.array([both + only_a, both + only_b]), np.array([count, count]))
    difference_low, difference_high = paired_share_interval(only_a, only_b, count)
    return Comparison(
        a=a,
        b=b,
        images=count,
        both_right=both,
        only_a_right=only_a,
        only_b_right=only_b,
        both_wrong=count - both - only_a - only_b,
        a_accuracy=(both + only_a) / count,
        a_low=float(low[0]),
        a_high=float(high[0]),
        b_accuracy=(both + only_b) / count,
        b_low=float(low[1]),
        b_high=float(high[1]),
        difference=(only_b - only_a) / count,
        difference_low=difference_low,
        difference_high=difference_high,
        # Of the images that only one is right on, equally good models have half each.
        mcnemar_p=float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0,
    )


def _read(root: str, revision: str) -> tuple[list[str], np.ndarray]:
    """What tells the test images from others, and which of them are predicted right, bool [N]."""
    try:
        # From the workspace, the cache or the remote, whichever has it.
        found = DVCFileSystem(root, rev=None if revision == "workspace" else revision)
        table = parse_csv(found.read_bytes(PREDICTIONS), f"{revision}: {PREDICTIONS}", ("actual", "predicted"))
        digest = found.info(TEST_IMAGES).get("dvc_info", {}).get("md5")
    except RevError:
        raise UserError(
            f"{revision}: no commit, branch, tag or experiment; `softmax experiments` lists these"
        ) from None
    except (DvcException, OSError) as error:
        reason = one_line(error, 200)
        raise UserError(f"{revision}: {PREDICTIONS} cannot be had from the cache or the remote: {reason}") from None
    if not digest or not table["actual"]:
        raise UserError(f"{revision}: {TEST_IMAGES} is not tracked, or {PREDICTIONS} is empty: run dvc repro")
    return [digest, *table["actual"]], np.array(table["actual"]) == np.array(table["predicted"])
