"""The memory: balanced, a reservoir, drawn from without repeats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.learners.memory import Memory, rank_within_class

counts = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=4), min_size=1, max_size=5)


def filled(memory: Memory, tasks: list[list[int]], seed: int = 0, shared: bool = False) -> dict[int, list[int]]:
    """Adds task after task, tasks[k][c] rows of its class c; returns all rows offered, by class."""
    offered: dict[int, list[int]] = {}
    row = label = 0
    for k, sizes in enumerate(tasks):
        label = 0 if shared else label
        rows, labels = [], []
        for size in sizes:
            rows += range(row, row + size)
            labels += [label] * size
            offered.setdefault(label, []).extend(range(row, row + size))
            row, label = row + size, label + 1
        memory.add(np.array(rows), np.array(labels), k, seed)
    return offered


@settings(max_examples=80, deadline=None)
@given(counts, st.integers(1, 60))
def test_classes_share_the_memory_equally_the_first_get_the_remainder(tasks: list[list[int]], size: int) -> None:
    tasks = [[max(n, size) for n in sizes] for sizes in tasks]  # every class could fill the memory alone
    memory = Memory(size)
    offered = filled(memory, tasks)
    classes = len(offered)
    if size < classes:
        return  # fewer places than classes: see below
    expected = [size // classes + (c < size % classes) for c in range(classes)]
    assert np.bincount(memory.labels, minlength=classes).tolist() == expected
    for row, label in zip(memory.rows, memory.labels, strict=True):
        assert row in offered[label]
    assert len(set(memory.rows)) == len(memory.rows) == size


@settings(max_examples=40, deadline=None)
@given(counts, st.integers(1, 60), st.booleans())
def test_never_more_than_its_size_and_everything_when_it_fits(tasks: list[list[int]], size: int, shared: bool) -> None:
    memory, unlimited = Memory(size), Memory(None)
    offered = filled(memory, tasks, shared=shared)
    filled(unlimited, tasks, shared=shared)
    everything = sorted(row for rows in offered.values() for row in rows)
    assert len(memory) <= size
    assert sorted(unlimited.rows) == everything
    if len(everything) <= size:
        assert sorted(memory.rows) == everything


def test_remainder_by_hand() -> None:
    memory = Memory(7)
    filled(memory, [[30, 30]])
    assert np.bincount(memory.labels).tolist() == [4, 3]
    memory = Memory(7)
    filled(memory, [[30, 30], [30]])
    assert np.bincount(memory.labels).tolist() == [3, 2, 2]


def test_what_is_kept_is_a_reservoir_each_row_equally_likely() -> None:
    kept = np.zeros(60)
    for seed in range(400):  # one class over three tasks: early rows are no likelier than late ones
        memory = Memory(6)
        filled(memory, [[20], [20], [20]], seed, shared=True)
        kept[memory.rows] += 1
    assert kept.sum() == 400 * 6
    per_task = kept.reshape(3, 20).sum(1)
    assert np.abs(per_task - 800).max() < 5 * np.sqrt(800)
    assert kept.min() > 0


def test_a_row_that_left_never_comes_back() -> None:
    memory, gone = Memory(12), set()
    row = 0
    for k in range(5):
        before = set(memory.rows)
        memory.add(np.arange(row, row + 20), np.repeat([2 * k, 2 * k + 1], 10), k, 3)
        row += 20
        gone |= before - set(memory.rows)
        assert not gone & set(memory.rows)


def test_the_same_seed_keeps_the_same_rows_another_seed_others() -> None:
    kept = []
    for seed in (1, 1, 2):
        memory = Memory(10)
        filled(memory, [[40, 40], [40]], seed)
        kept.append(memory.rows.tolist())
    assert kept[0] == kept[1] != kept[2]


@settings(max_examples=80, deadline=None)
@given(counts, st.integers(1, 70), st.integers(0, 1000))
def test_draws_are_without_replacement_and_by_address(tasks: list[list[int]], size: int, step: int) -> None:
    memory = Memory(None)
    filled(memory, tasks)
    drawn = memory.draw(5, 2, step, size)
    assert drawn is not None
    assert len(set(drawn)) == len(drawn) == min(size, len(memory))
    assert set(drawn) <= set(memory.rows)
    again = memory.draw(5, 2, step, size)
    assert again is not None
    assert drawn.tolist() == again.tolist()


def test_a_sample_of_a_class_that_comes_again_has_an_entry_for_each_task_and_no_entry_is_drawn_twice() -> None:
    memory, limited = Memory(None), Memory(30)
    for task in range(3):  # the same twenty samples each time
        for one in (memory, limited):
            one.add(np.arange(20), np.repeat([0, 1], 10), task, 0)
    assert len(memory) == 60  # more than there are samples
    assert sorted(memory.rows) == sorted([*range(20)] * 3)
    assert len(limited) == 30 > len(set(limited.rows))
    drawn = memory.draw(0, 3, 0, 59)
    assert drawn is not None
    assert np.bincount(drawn).max() == 3  # a sample as often as it has entries, none of them twice
    assert len(drawn) == 59


def test_draws_are_uniform_over_classes_whatever_their_size() -> None:
    memory = Memory(None)
    filled(memory, [[200, 20, 20]])
    shares = np.zeros(3)
    for step in range(500):
        drawn = memory.draw(0, 1, step, 8)
        assert drawn is not None
        shares += np.bincount(memory.labels[drawn], minlength=3)  # rows are 0, 1, 2 ...
    assert np.abs(shares / 4000 - 1 / 3).max() < 0.03


def test_within_a_class_every_row_is_equally_likely() -> None:
    memory = Memory(None)
    filled(memory, [[25, 25]])
    hits = np.zeros(50)
    for step in range(1000):
        drawn = memory.draw(0, 1, step, 10)
        assert drawn is not None
        hits[drawn] += 1
    assert np.abs(hits - 200).max() < 5 * np.sqrt(200)


def test_nothing_to_draw_from_and_fewer_rows_than_asked() -> None:
    memory = Memory(10)
    assert memory.draw(0, 0, 0, 4) is None
    filled(memory, [[2, 1]])
    drawn = memory.draw(0, 1, 0, 4)
    assert drawn is not None
    assert sorted(drawn) == [0, 1, 2]


def test_stored_and_restored_is_the_same_memory() -> None:
    memory, other = Memory(9), Memory(9)
    filled(memory, [[20, 20], [20]])
    other.restore(memory.stored())
    for name in ("rows", "labels", "tasks", "keys"):
        assert np.array_equal(getattr(memory, name), getattr(other, name))
    more = np.arange(100, 130), np.full(30, 7)
    memory.add(*more, 2, 0)
    other.add(*more, 2, 0)
    assert np.array_equal(memory.rows, other.rows)
    assert not np.array_equal(memory.rows, memory.stored()["rows"].numpy() + 1)


def test_first_rows_of_a_task_in_their_order() -> None:
    memory = Memory(6)
    memory.add_first(np.array([9, 4, 7, 1]), np.array([0, 0, 1, 1]), 0, 3)
    memory.add_first(np.array([30, 20]), np.array([2, 2]), 1, 3)
    assert memory.rows.tolist() == [9, 4, 7, 30, 20]
    assert memory.tasks.tolist() == [0, 0, 0, 1, 1]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1000)), min_size=1, max_size=30, unique_by=lambda p: p[1]))
def test_rank_within_class_counts_smaller_keys(pairs: list[tuple[int, int]]) -> None:
    labels, keys = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    expected = [sum(o == label and k < key for o, k in pairs) for label, key in pairs]
    assert rank_within_class(labels, keys).tolist() == expected


@pytest.mark.parametrize("size", [3, 5])
def test_fewer_places_than_classes_keeps_the_first_classes(size: int) -> None:
    memory = Memory(size)
    filled(memory, [[10, 10], [10, 10], [10, 10]])
    assert memory.labels.tolist() == list(range(size))
