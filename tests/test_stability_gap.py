"""Measures of the stability gap: what a switch adds to the gap that noise alone shows."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from papers.stability_gap.measures import gap_of_switch, per_run

STEP, ENDS = np.arange(1, 13), np.array([4, 8, 12])


def accuracy(*tasks: list[float]) -> np.ndarray:
    """float [12, T] from a list of values a task, unseen at first."""
    return np.array([[np.nan] * (len(STEP) - len(values)) + values for values in tasks]).T


def test_it_is_the_fall_in_the_half_after_a_switch_less_that_in_the_other_half() -> None:
    """By hand. Task 1: falls of 0.5 and 0.1 while task 2 is learned, 0.2 and 0 then. Task 2: 0.4 and 0.3."""
    one = [0.1, 0.5, 0.8, 0.9, 0.4, 0.8, 0.7, 0.8, 0.6, 0.7, 0.7, 0.9]
    two = [0.2, 0.5, 0.8, 0.9, 0.5, 0.8, 0.5, 0.6]
    three = [0.2, 0.5, 0.8, 0.9]
    found = gap_of_switch(accuracy(one, two, three), STEP, ENDS)
    early, late = [0.5, 0.2, 0.4], [0.1, 0.0, 0.3]
    assert np.isclose(found, np.mean(early) - np.mean(late))


@given(st.integers(0, 2**32 - 1))
def test_noise_without_a_dip_has_a_gap_but_none_of_the_switch(seed: int) -> None:
    """What repeats in both halves of every task is noise, however deep."""
    rng = np.random.default_rng(seed)
    half = rng.random((2, 3))
    A = np.concatenate([np.tile(half, (2, 1))] * 3)
    assert np.isclose(gap_of_switch(A, STEP, ENDS), 0)


def test_without_evaluations_between_the_ends_of_tasks_it_is_unknown() -> None:
    A = np.array([[0.9, np.nan], [0.5, 0.9]])
    assert np.isnan(gap_of_switch(A, ENDS[:2], ENDS[:2]))
    assert np.isnan(gap_of_switch(A[:1], ENDS[:1], ENDS[:1]))  # one task: no switch


def test_a_run_has_it_beside_the_gap() -> None:
    A = accuracy([0.9] * 12, [0.9] * 8, [0.9] * 4)
    A[4, 0] = 0.5
    bits = np.zeros((12, 1), dtype=np.uint8)
    trace = {"step": STEP, "ends": ENDS, "bits": bits, "offsets": np.array([0, 1, 2, 3]), "seen": np.full(12, 3)}
    found = per_run(trace, A)
    assert np.isclose(found["gap"], 0.4 / 3)
    assert np.isclose(found["gap_of_switch"], 0.4 / 3)
