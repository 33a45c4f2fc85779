"""Metrics against literal loops over their definitions (hypothesis) and against hand computations."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import metrics as m

NAN = np.nan


@st.composite
def traces(draw, min_tasks=1):
    """(A, step, ends): evaluation before the first update, after every update, or after every other one."""
    tasks = draw(st.integers(min_tasks, 4))
    ends = np.cumsum(draw(st.lists(st.integers(1, 9), min_size=tasks, max_size=tasks)))
    step = np.arange(0, ends[-1] + 1)
    step = step[m.thin(step, ends, draw(st.integers(1, 3)))]
    seen = 1 + np.searchsorted(ends, step, side="left")
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    A = random.integers(0, 11, (len(step), tasks)) / 10
    A[np.arange(tasks) >= seen[:, None]] = NAN
    return A, step, ends


def slow_min_acc(A, step, ends):
    k = A.shape[1]
    lowest = [min(A[row, task] for row in range(len(step)) if step[row] > ends[task]) for task in range(k - 1)]
    return sum(lowest) / (k - 1)


def slow_windowed(A, w, sign):
    total = 0.0
    for task in range(A.shape[1]):
        curve = [value for value in A[:, task] if not math.isnan(value)]
        largest = 0.0
        for now in range(len(curve)):
            window = curve[max(0, now - w + 1) : now + 1]
            for first in range(len(window)):
                for second in range(first + 1, len(window)):
                    largest = max(largest, sign * (window[first] - window[second]))
        total += largest
    return total / A.shape[1]


def slow_lca(A, step, ends, beta):
    areas = []
    for task in range(A.shape[1]):
        begin = ends[task - 1] if task else -1
        curve = [A[row, task] for row in range(len(step)) if begin < step[row] <= ends[task]]
        if len(curve) >= beta:
            areas.append(sum(curve[:beta]) / beta)
    return sum(areas) / len(areas) if areas else NAN


@given(traces(min_tasks=2))
def test_metrics_are_their_definitions(trace):
    A, step, ends = trace
    k = A.shape[1]
    rows = {int(s): row for row, s in enumerate(step)}
    assert m.acc(A) == pytest.approx(sum(A[-1]) / k)
    forgotten = [A[rows[int(ends[task])], task] - A[-1, task] for task in range(k - 1)]
    assert m.forg(A, step, ends) == pytest.approx(sum(forgotten) / (k - 1))
    assert m.min_acc(A, step, ends) == pytest.approx(slow_min_acc(A, step, ends))
    expected = A[-1, -1] / k + (1 - 1 / k) * slow_min_acc(A, step, ends)
    assert m.wc_acc(A, step, ends) == pytest.approx(expected)


@given(traces(), st.integers(0, 12))
def test_windowed_measures_are_their_definitions(trace, w):
    A, _, _ = trace
    assert m.windowed_forgetting(A, w) == pytest.approx(slow_windowed(A, w, 1))
    assert m.windowed_plasticity(A, w) == pytest.approx(slow_windowed(A, w, -1))


@given(traces(), st.integers(1, 6))
def test_lca_is_its_definition(trace, beta):
    A, step, ends = trace
    assert m.lca(A, step, ends, beta) == pytest.approx(slow_lca(A, step, ends, beta), nan_ok=True)


@given(traces(min_tasks=2))
def test_bounds_and_what_coarser_evaluation_can_do(trace):
    A, step, ends = trace
    values = m.summarise(A, step, ends, rhos=(2, 4))
    assert values["wc_acc"] <= values["acc"] + 1e-12
    assert 0 <= values["wf10"] <= values["wf100"] <= 1
    for finer, coarser in (("", "@2"), ("@2", "@4"), ("@4", "@boundaries")):  # the coarser is a subset
        assert values["acc" + finer] == values["acc" + coarser]
        assert values["forg" + finer] == values["forg" + coarser]
        assert values["min_acc" + finer] <= values["min_acc" + coarser] + 1e-12
        assert values["wc_acc" + finer] <= values["wc_acc" + coarser] + 1e-12


@given(traces(min_tasks=2))
def test_windowed_forgetting_never_falls_as_the_run_goes_on(trace):
    A, _, _ = trace
    own = [m.windowed_forgetting(A[:row, :1], 5) for row in range(1, len(A) + 1)]
    assert own[0] == 0
    assert all(np.diff(own) >= 0)


@given(st.lists(st.integers(1, 13), min_size=1, max_size=5), st.integers(0, 99), st.sampled_from([None, 8]))
def test_accuracy_matrix_counts_the_right_bits(sizes, seed, samples):
    random = np.random.default_rng(seed)
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    correct = random.random((6, offsets[-1])) < 0.5
    seen = random.integers(0, len(sizes) + 1, 6)
    A = m.accuracy_matrix(np.packbits(correct, axis=1), offsets, seen, samples)
    for row in range(6):
        for task, size in enumerate(sizes):
            own = correct[row, offsets[task] : offsets[task] + min(size, samples or size)]
            assert A[row, task] == own.mean() if task < seen[row] else math.isnan(A[row, task])


# Hand computation. Two tasks of 3 updates, an evaluation before the first update and after each:
#   step    0    1    2    3 |  4    5    6
#   task 0  .1   .5   .8   .9 | .2   .6   .7
#   task 1  -    -    -    -  | .3   .8   .9
# ACC      = (.7 + .9) / 2                                   = .8
# FORG     = .9 - .7  (task 0 at step 3 minus now)           = .2
# min-ACC  = min(.2, .6, .7)                                 = .2
# WC-ACC   = .9 / 2 + .2 / 2                                 = .55
# WF^10    = (largest drop of task 0: .9 - .2 = .7; of task 1: 0) / 2            = .35
# WP^10    = (task 0: .9 - .1 = .8; task 1: .9 - .3 = .6) / 2                    = .7
# WP^2     = (task 0: neighbours only, .5 - .1 = .4 or .6 - .2 = .4; task 1: .8 - .3 = .5) / 2 = .45
# LCA_3    = (mean(.1, .5, .8) + mean(.3, .8, .9)) / 2 = (1.4/3 + 2/3) / 2       = 3.4 / 6
# LCA_4    = mean(.1, .5, .8, .9) = .575: task 1 has three evaluations only and does not enter
# at the task ends (steps 3 and 6): min-ACC = .7, WC-ACC = .9/2 + .7/2 = .8, WF = (.9 - .7) / 2 = .1
# every 2nd update (0, 2, 4, 6) and the ends (3, 6): min-ACC = min(.2, .7) = .2
HAND = np.array([[0.1, NAN], [0.5, NAN], [0.8, NAN], [0.9, NAN], [0.2, 0.3], [0.6, 0.8], [0.7, 0.9]])
STEP, ENDS = np.arange(7), np.array([3, 6])


def test_hand_computed_case():
    got = m.summarise(HAND, STEP, ENDS, rhos=(2,))
    values = [got[name] for name in ("acc", "forg", "min_acc", "wc_acc", "wf10", "wf100", "wp10")]
    assert values == pytest.approx([0.8, 0.2, 0.2, 0.55, 0.35, 0.35, 0.7])
    assert math.isnan(got["lca"])  # no task has ten evaluations
    assert m.windowed_plasticity(HAND, 2) == pytest.approx(0.45)
    assert m.lca(HAND, STEP, ENDS, 3) == pytest.approx(3.4 / 6)
    assert m.lca(HAND, STEP, ENDS, 4) == pytest.approx(0.575)
    at_ends = [got[name + "@boundaries"] for name in ("acc", "forg", "min_acc", "wc_acc", "wf10")]
    assert at_ends == pytest.approx([0.8, 0.2, 0.7, 0.8, 0.1])
    assert got["min_acc@2"] == pytest.approx(0.2)


def test_a_rise_after_a_drop_counts_as_plasticity():
    # one task, evaluations .9 .1 .8: the largest rise within three is .8 - .1 = .7, although .9 comes first
    assert m.windowed_plasticity(np.array([[0.9], [0.1], [0.8]]), 3) == pytest.approx(0.7)


def test_windows_with_fewer_than_two_evaluations_contribute_zero():
    # task 0 drops by .5; task 1 has one evaluation: (.5 + 0) / 2
    A = np.array([[0.9, NAN], [0.4, NAN], [0.4, 0.3]])
    assert m.windowed_forgetting(A, 10) == pytest.approx(0.25)
    assert m.windowed_forgetting(A, 1) == 0


def test_one_task_has_no_old_task():
    got = m.summarise(np.array([[0.1], [0.6]]), np.array([0, 1]), np.array([1]))
    assert math.isnan(got["forg"])
    assert math.isnan(got["min_acc"])
    assert got["wc_acc"] == got["acc"] == 0.6


def test_no_evaluation_gives_nan_and_every_name():
    got = m.summarise(np.empty((0, 3)), np.empty(0, int), np.array([1, 2, 3]))
    assert set(got) == {name + at for name in m.METRICS for at in ("", "@10", "@100", "@boundaries")}
    assert all(math.isnan(value) for value in got.values())


def test_thin_keeps_multiples_and_ends():
    step, ends = np.arange(0, 12), np.array([5, 11])
    assert list(step[m.thin(step, ends, 4)]) == [0, 4, 5, 8, 11]
    assert list(step[m.thin(step, ends, None)]) == [5, 11]
    assert m.thin(step, ends, 1).all()


def test_long_traces_are_quick():
    A, ends = np.random.default_rng(0).random((4000, 20)), np.arange(1, 21) * 200
    step = np.arange(1, 4001)
    A[np.arange(20) >= 1 + np.searchsorted(ends, step)[:, None]] = NAN
    begin = time.perf_counter()
    m.summarise(A, step, ends)
    assert time.perf_counter() - begin < 0.5  # some 10 ms; the literal loops take minutes
