"""Statistics over seeds: intervals, exact paired tests, and a plain word when the seeds are too few.

A value is one seed's measurement. Everything is deterministic: resamples and sign flips are enumerated where
they can be, and drawn with a fixed seed where they cannot.
"""

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Alternative = Literal["two-sided", "greater", "less"]
Interval = tuple[float, float]

EXACT_BOOTSTRAP = 6  # 6^6 = 46,656 resamples
EXACT_FLIPS = 16  # 2^16 = 65,536 sign patterns
UNKNOWN: Interval = (math.nan, math.nan)


@lru_cache(maxsize=8)
def _resamples(n: int) -> npt.NDArray[np.int64]:
    """Indices [resamples, n]: all n^n of them up to EXACT_BOOTSTRAP, else `_draws` of them with a fixed seed."""
    if n <= EXACT_BOOTSTRAP:
        return np.array(list(itertools.product(range(n), repeat=n)), dtype=np.int64)
    return np.random.default_rng(0).integers(0, n, (_draws(n, 10_000), n))


def _draws(n: int, most: int) -> int:
    """How many resamples or sign patterns of n values: `most`, fewer for hundreds of seeds, so that it stays quick."""
    return max(2_000, min(most, 2_000_000 // n))


def bootstrap_interval(values: Sequence[float] | Floats, level: float = 0.95) -> Interval:
    """(low, high): percentile bootstrap interval of the mean; (nan, nan) for under two values or with a NaN.

    Ends are means that really occur (no interpolation), so with three values or fewer the interval at 0.95
    runs from the smallest to the largest. With few seeds it is narrower than its level promises (as all
    percentile intervals are): read it beside `enough`.
    """
    sample = np.asarray(values, dtype=np.float64)
    if len(sample) < 2 or np.isnan(sample).any():
        return UNKNOWN
    means = sample[_resamples(len(sample))].mean(axis=1)
    tail = (1 - level) / 2
    low = np.quantile(means, tail, method="inverted_cdf")
    high = -np.quantile(-means, tail, method="inverted_cdf")  # the mirror image, also when a tail ends on a step
    return max(float(low), float(sample.min())), min(float(high), float(sample.max()))


def paired_permutation_p(differences: Sequence[float] | Floats, alternative: Alternative = "two-sided") -> float:
    """p of the sign-flip test against "the differences scatter around zero"; NaN for no difference or a NaN.

    Exact (all 2^n sign patterns) up to 16 differences; beyond, up to 100,000 patterns drawn with a fixed seed
    and the observed one. `alternative`: "greater" asks whether the differences lie above zero.
    """
    sample = np.asarray(differences, dtype=np.float64)
    if len(sample) == 0 or np.isnan(sample).any():
        return math.nan
    if len(sample) <= EXACT_FLIPS:
        sums = np.zeros(1)
        for value in sample:
            sums = np.concatenate((sums + value, sums - value))
    else:
        signs = np.random.default_rng(0).integers(0, 2, (_draws(len(sample), 100_000), len(sample))) * 2 - 1
        sums = np.append(signs @ sample, sample.sum())
    observed = sample.sum()
    # Ties count as at least as extreme; the slack keeps rounding from breaking them.
    slack = 1e-9 * np.abs(sample).sum()
    extreme = {
        "two-sided": np.abs(sums) >= abs(observed) - slack,
        "greater": sums >= observed - slack,
        "less": sums <= observed + slack,
    }[alternative]
    return float(extreme.mean())


def smallest_p(n: int, alternative: Alternative = "two-sided") -> float:
    """The smallest p that the exact sign-flip test can give with `n` seeds: 2^(1-n), one-sided 2^-n."""
    return min(1.0, 2.0 ** (1 - n)) if alternative == "two-sided" else 2.0**-n


def enough(n: int, alternative: Alternative = "two-sided") -> str:
    """A plain sentence when no exact paired test with `n` seeds can reach 0.05, else an empty string."""
    smallest = smallest_p(n, alternative)
    if smallest <= 0.05:
        return ""
    seeds = "1 seed" if n == 1 else f"{n} seeds"
    return f"{seeds}: the smallest p an exact paired test can give is {smallest:.4g}; too few to tell"


def pearson(x: Sequence[float] | Floats, y: Sequence[float] | Floats) -> float:
    """Pearson correlation of two equally long samples; NaN with fewer than two points or without spread."""
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"x has shape {first.shape} and y {second.shape}: give pairs")
    if len(first) < 2 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / math.sqrt((first @ first) * (second @ second)))


def welch_interval(
    mean1: float, sd1: float, n1: int, mean0: float, sd0: float, n0: int, level: float = 0.95
) -> Interval:
    """(low, high): Welch's t interval of mean1 - mean0; (nan, nan) when a group has fewer than two values.

    sd: sample standard deviations (divisor n - 1), as papers report them over n seeds.
    """
    if min(n1, n0) < 2:
        return UNKNOWN
    from scipy.special import stdtrit  # here: the other functions must not wait for scipy

    difference = mean1 - mean0
    part1, part0 = sd1**2 / n1, sd0**2 / n0
    if part1 + part0 == 0:
        return difference, difference
    freedom = (part1 + part0) ** 2 / (part1**2 / (n1 - 1) + part0**2 / (n0 - 1))
    half = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(part1 + part0)
    return difference - half, difference + half
