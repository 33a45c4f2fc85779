"""Statistics against scipy.stats and against hand counts."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats as reference

from common import stats

FEW = st.lists(st.integers(-100, 100).map(lambda n: n / 10), min_size=2, max_size=6)
SIDES = ["two-sided", "greater", "less"]


@given(FEW)
def test_bootstrap_interval_mirrors_and_stays_inside(values):
    low, high = stats.bootstrap_interval(values)
    mirrored = stats.bootstrap_interval([-value for value in values])
    assert (-high, -low) == pytest.approx(mirrored)
    assert min(values) <= low <= np.mean(values) + 1e-12
    assert np.mean(values) - 1e-12 <= high <= max(values)


def test_bootstrap_interval_by_hand():
    # Two values: 4 resamples, means 1, 2, 2, 3, each 1/4 > 2.5 %: from 1 to 3.
    # At level 0.4 a tail holds 30 %: the smallest mean with 30 % or more at or below it is 2; as from above.
    assert stats.bootstrap_interval([1, 3]) == (1, 3)
    assert stats.bootstrap_interval([1, 3], level=0.4) == (2, 2)
    # Three values 0, 0, 3: means 0 (8/27), 1 (12/27), 2 (6/27), 3 (1/27 = 3.7 % > 2.5 %): from 0 to 3;
    # at level 0.9 the upper tail of 5 % begins at 2.
    assert stats.bootstrap_interval([0, 0, 3]) == (0, 3)
    assert stats.bootstrap_interval([0, 0, 3], level=0.9) == (0, 2)


@pytest.mark.parametrize("n", [5, 6, 7, 20])
def test_bootstrap_interval_is_scipys(n):
    values = np.random.default_rng(n).normal(size=n)
    expected = reference.bootstrap(
        (values,), np.mean, n_resamples=40_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert stats.bootstrap_interval(values) == pytest.approx((expected.low, expected.high), abs=0.03)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, math.nan]])
def test_no_interval_without_two_values(values):
    assert all(math.isnan(end) for end in stats.bootstrap_interval(values))


def test_equal_values_give_a_point():
    assert stats.bootstrap_interval([0.1] * 5) == (0.1, 0.1)


@given(st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=9), st.sampled_from(SIDES))
def test_sign_flip_test_is_scipys(differences, alternative):
    got = stats.paired_permutation_p(differences, alternative)
    if alternative == "two-sided":  # scipy doubles the smaller tail; by symmetry of the sign flips that is the same
        expected = min(1.0, 2 * min(stats.paired_permutation_p(differences, side) for side in SIDES[1:]))
        assert got == pytest.approx(expected)
    assume(len(differences) > 1)
    pairs = (np.array(differences), np.zeros(len(differences)))
    scipys = reference.permutation_test(
        pairs,
        lambda x, y, axis: np.sum(x - y, axis=axis),
        vectorized=True,
        permutation_type="samples",
        n_resamples=np.inf,
        alternative=alternative,
    )
    assert got == pytest.approx(scipys.pvalue)


def test_sign_flip_test_by_hand():
    # 1, 2, 4: the sums of the 8 patterns are +-7, +-5, +-3, +-1, so 7 is reached by one of 8, and |7| by two
    assert stats.paired_permutation_p([1, 2, 4], "greater") == 1 / 8
    assert stats.paired_permutation_p([1, 2, 4], "less") == 1
    assert stats.paired_permutation_p([1, 2, 4]) == 2 / 8
    assert stats.paired_permutation_p([-1, 2, 4]) == 4 / 8  # observed 5: +-7 and +-5
    assert stats.paired_permutation_p([0, 0]) == 1
    assert math.isnan(stats.paired_permutation_p([]))
    assert math.isnan(stats.paired_permutation_p([1, math.nan]))


def test_rounding_breaks_no_tie():
    # 0.1 + 0.2 - 0.3 is not 0 in floating point, yet all patterns with sum 0 tie with the observed one
    assert stats.paired_permutation_p([0.1, 0.2, -0.3], "greater") == 5 / 8


def test_many_seeds_are_sampled_and_never_give_zero():
    differences = np.random.default_rng(0).normal(0.45, 1, 20)
    expected = reference.ttest_1samp(differences, 0).pvalue
    assert stats.paired_permutation_p(differences) == pytest.approx(expected, abs=0.01)
    assert stats.paired_permutation_p(np.ones(40), "greater") > 0


@given(st.integers(1, 12), st.sampled_from(SIDES))
def test_smallest_p_is_reached(n, alternative):
    sign = -1.0 if alternative == "less" else 1.0
    assert stats.paired_permutation_p([sign] * n, alternative) == stats.smallest_p(n, alternative)


def test_enough_names_the_smallest_p():
    expected = "3 seeds: the smallest p an exact paired test can give is 0.25; too few to tell"
    assert stats.enough(3) == expected
    assert stats.enough(5).startswith("5 seeds")
    assert stats.enough(6) == stats.enough(5, "greater") == ""
    assert stats.enough(1).startswith("1 seed: the smallest p an exact paired test can give is 1;")


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=12))
def test_pearson_is_scipys(pairs):
    x, y = np.array(pairs, dtype=float).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(stats.pearson(x, y))
    else:
        assert stats.pearson(x, y) == pytest.approx(reference.pearsonr(x, y).statistic, abs=1e-9)


def test_pearson_refuses_unpaired_samples():
    with pytest.raises(ValueError, match="pairs"):
        stats.pearson([1, 2], [1, 2, 3])
    assert math.isnan(stats.pearson([1], [2]))


@given(FEW, FEW, st.sampled_from([0.9, 0.95, 0.99]))
def test_welch_interval_is_scipys(ours, theirs, level):
    assume(min(np.ptp(ours), np.ptp(theirs)) > 0)  # scipy warns of rounding when one sample does not vary
    expected = reference.ttest_ind(ours, theirs, equal_var=False).confidence_interval(level)
    summary = [f(sample) for sample in (ours, theirs) for f in (np.mean, lambda s: np.std(s, ddof=1), len)]
    assert stats.welch_interval(*summary, level) == pytest.approx((expected.low, expected.high))


def test_welch_interval_without_spread_or_seeds():
    assert stats.welch_interval(3, 0, 5, 1, 0, 5) == (2, 2)
    assert all(math.isnan(end) for end in stats.welch_interval(3, 0.1, 1, 1, 0.1, 5))
