"""Switch measures against hand computations and a literal loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.switches import switches

NAN = np.nan


def test_hand_computed_dip():
    # Task 0 ends at update 2 with .8. During task 1 (updates 3..8) it reads .6 .2 .4 .5 .75 .7.
    # pre .8, min .2 two updates after the switch, post .7; gap .6, transient .5.
    # 50 % regained: .2 + .3 = .5, first at the 4th update; 90 %: .2 + .54 = .74, first at the 5th (.75).
    A = np.full((9, 2), NAN)
    A[:, 0] = [0.1, 0.5, 0.8, 0.6, 0.2, 0.4, 0.5, 0.75, 0.7]
    A[3:, 1] = 0.5
    (dip,) = switches(A, np.arange(9), np.array([2, 8]))
    assert (dip["task"], dip["switch"], dip["min_iteration"], dip["rec50"], dip["rec90"]) == (0, 0, 2, 4, 5)
    measures = [dip[name] for name in ("pre", "min", "post", "gap", "transient")]
    assert measures == pytest.approx([0.8, 0.2, 0.7, 0.6, 0.5])


def test_never_recovered_and_no_gap_give_none():
    # Task 0 ends with .8, then reads .1 .2: .1 of the .7 is regained. Switch 1: .2, then .3 .4, no drop.
    A = np.array([[0.8, NAN, NAN], [0.1, 0.5, NAN], [0.2, 0.9, NAN], [0.3, 0.1, 0.4], [0.4, 0.9, 0.6]])
    first, second, third = switches(A, np.arange(1, 6), np.array([1, 3, 5]))
    assert (first["rec50"], first["rec90"]) == (None, None)
    assert second["gap"] == pytest.approx(-0.1)
    assert second["rec50"] is None
    # task 1 at switch 1: pre .9, min .1 at the first update, back at .9 = 100 % at the second
    assert (third["task"], third["switch"], third["min_iteration"], third["rec90"]) == (1, 1, 1, 2)


def test_a_next_task_under_way_is_left_out():
    A = np.array([[0.8, NAN], [0.1, 0.5]])
    assert switches(A, np.array([2, 3]), np.array([2, 6])) == []
    assert switches(np.empty((0, 2)), np.empty(0, int), np.array([2, 6])) == []


@given(st.integers(2, 4), st.integers(1, 6), st.integers(0, 2**32))
def test_switches_are_their_definition(tasks, length, seed):
    ends, step = np.arange(1, tasks + 1) * length, np.arange(tasks * length + 1)
    A = np.random.default_rng(seed).integers(0, 11, (len(step), tasks)) / 10
    A[np.arange(tasks) >= 1 + np.searchsorted(ends, step)[:, None]] = NAN
    found = switches(A, step, ends)
    assert [(dip["switch"], dip["task"]) for dip in found] == [
        (switch, task) for switch in range(tasks - 1) for task in range(switch + 1)
    ]
    for dip in found:
        after = [A[ends[dip["switch"]] + n, dip["task"]] for n in range(1, length + 1)]
        pre = A[ends[dip["switch"]], dip["task"]]
        assert dip["gap"] == pytest.approx(pre - min(after))
        assert dip["transient"] == pytest.approx(after[-1] - min(after))
        assert dip["min_iteration"] == 1 + after.index(min(after))
        for percent in (50, 90):
            level = min(after) + percent / 100 * (pre - min(after)) - 1e-9
            late = [n for n in range(dip["min_iteration"], length + 1) if after[n - 1] >= level]
            assert dip[f"rec{percent}"] == (late[0] if late and pre > min(after) else None)
