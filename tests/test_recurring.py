"""Recurring streams: any number of tasks from a recipe, drawn as they should be, refused early, and what runs on them keep."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from common import loop, metrics
from common.errors import Problem
from common.loop import Place, Stopped
from common.places import runs_dir
from common.record import RunFolder
from common.spec import Evaluation, RunSpec, log_spaced
from common.streams.corruptions import FAMILIES, Corrupt
from common.streams.frequencies import entropy_decrease, inclusion, zipf
from common.streams.recurring import recurring
from common.streams.resident import Resident
from common.streams.stream import Lazy, Stream
from tests.helpers import same, same_weights, stored
from tests.test_streams import made

IMAGES = made(classes=10, per_class=12)
BASE: dict[str, Any] = {"tasks": 400, "classes_per_task": 2}
RUN = {
    "stream": {"name": "recurring", "tasks": 12, "classes_per_task": 2, "per_class": 16},
    "budget": {"iterations": None, "epochs": 1, "batch": 8},
    "evaluation": {"every": 0, "samples": 12},
}


def drawn(**over: Any) -> list[tuple[int, ...]]:
    """Classes of every task of a stream."""
    return [task.classes for task in recurring(IMAGES, 3, **{**BASE, **over}).tasks]


# --- the sequence ------------------------------------------------------------------------------------------------


def test_a_task_is_a_function_of_its_number_and_a_slice_is_lazy() -> None:
    stream = recurring(IMAGES, 0, tasks=10**6, classes_per_task=3)
    late = stream.tasks[987_654]
    assert (late.index, len(late.classes)) == (987_654, 3)
    assert recurring(IMAGES, 0, tasks=10**6, classes_per_task=3).tasks[987_654].classes == late.classes
    part = stream[987_000:]
    assert isinstance(part.tasks, Lazy)
    assert (len(part), part.tasks[654].index) == (13_000, 987_654)
    assert len(str(stream).splitlines()) < 30
    assert len({stream.digest(), part.digest(), recurring(IMAGES, 1, tasks=10**6, classes_per_task=3).digest()}) == 3


def test_rows_labels_and_parts_are_those_of_the_classes() -> None:
    stream = recurring(IMAGES, 5, **BASE, classes=6, per_class=7, test_per_class=3)
    world = np.flatnonzero(stream.relabel >= 0)
    assert stream.relabel[world].tolist() == list(range(6)) == sorted(stream.relabel[world])
    assert (stream.sizes() == 14).all()
    for task in stream.tasks[:20]:
        labels = stream.relabel[IMAGES.train.labels[task.train]]
        assert sorted(labels) == sorted(list(task.classes) * 7)
    assert [part.classes for part in stream.measured] == [(c,) for c in range(6)]
    held_out = Resident(stream).evaluation(None, 0)
    assert held_out.offsets.tolist() == list(range(0, 19, 3))
    assert [sorted(set(held_out.y[a : a + 3].tolist())) for a in range(0, 18, 3)] == [[c] for c in range(6)]


def test_validation_rows_are_never_trained_on() -> None:
    stream = recurring(IMAGES, 0, **BASE, evaluate_on="validation")
    trained = set(np.concatenate([task.train for task in stream.tasks]))
    held = set(np.concatenate([part.test for part in stream.measured]))
    assert all(part.source == "train" for part in stream.measured)
    assert not trained & held
    assert len(trained | held) == 120


def test_streams_that_differ_in_images_or_corruption_alone_have_the_same_classes() -> None:
    base = drawn()
    for over in ({"per_class": 3}, {"corruption": "random"}, {"test_per_class": 1}, {"tasks": 500}):
        assert drawn(**over)[:400] == base
    assert drawn(classes_per_task=3) != base


def test_pairs_come_as_often_as_the_formula_says() -> None:
    p = np.array([0.4, 0.3, 0.2, 0.1])
    stream = recurring(made(classes=4), 0, tasks=6000, classes_per_task=2, frequencies=(10 * p).tolist())
    found = [task.classes for task in stream.tasks]
    for i, j in itertools.combinations(range(4), 2):
        wanted = p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j]))
        assert found.count((i, j)) / 6000 == pytest.approx(wanted, abs=4 * math.sqrt(wanted / 6000))
    share = np.array([np.mean([c in classes for classes in found]) for c in range(4)])
    np.testing.assert_allclose(share, inclusion(p, 2), atol=0.03)


def test_probabilities_of_the_released_code() -> None:
    two = [0.1610, 0.1453, 0.1304, 0.1163, 0.1030, 0.0905, 0.0789, 0.0680, 0.0579, 0.0487]
    np.testing.assert_allclose(entropy_decrease(10, 2), two, atol=6e-5)
    ten = entropy_decrease(10, 10)
    assert (round(ten[0], 3), round(ten[-1], 4)) == (0.424, 0.0011)
    q = inclusion(entropy_decrease(100, 2), 10)
    assert ((q < 0.01).sum(), ((q >= 0.01) & (q < 0.1)).sum(), (q >= 0.1).sum()) == (17, 39, 44)
    with pytest.raises(Problem, match="up to 20 classes and for 100, but the stream has 30"):
        entropy_decrease(30, 2)
    np.testing.assert_allclose(zipf(3, 1.0), np.array([6, 3, 2]) / 11)


@pytest.mark.parametrize(("p", "k"), [(entropy_decrease(10, 2), 3), (np.full(8, 1 / 8), 5), (zipf(6, 1.5), 2)])
def test_inclusion_sums_to_the_classes_of_a_task(p: np.ndarray, k: int) -> None:
    q = inclusion(p, k)
    assert q.sum() == pytest.approx(k)
    rng = np.random.default_rng(0)
    seen = np.zeros(len(p))
    for _ in range(4000):
        seen[rng.choice(len(p), k, replace=False, p=p)] += 1
    np.testing.assert_allclose(seen / 4000, q, atol=0.035)


def test_a_cycle_repeats_disjoint_groups_of_all_classes() -> None:
    found = drawn(order="cycle")
    assert sorted(itertools.chain(*found[:5])) == list(range(10))
    assert found == found[:5] * 80


def test_combinations_keep_a_share_of_the_groups_and_every_class() -> None:
    kept = set(drawn(tasks=3000, combinations=0.2))
    assert len(kept) == 9
    assert set(itertools.chain(*kept)) == set(range(10))
    assert len(set(drawn(tasks=3000, combinations=1.0))) == 45


def test_phases_say_when_a_class_may_come() -> None:
    first, second = drawn(phases="halves")[:200], drawn(phases="halves")[200:]
    assert set(itertools.chain(*first)) == set(range(5))
    assert set(itertools.chain(*second)) == set(range(5, 10))
    first, second = drawn(phases="forgetting")[:200], drawn(phases="forgetting")[200:]
    assert set(itertools.chain(*first)) == set(range(10))
    assert set(itertools.chain(*second)) == set(range(5))


def test_replacement_leaves_tasks_of_fewer_classes() -> None:
    stream = recurring(IMAGES, 0, **BASE, replacement=True)
    widths = [len(task.classes) for task in stream.tasks]
    assert set(widths) == {1, 2}
    assert stream.sizes().tolist() == [12 * width for width in widths]


def test_a_reduced_probability_evens_out_how_often_classes_come() -> None:
    weights = [50.0, *[1.0] * 9]
    plain = np.bincount(np.ravel(drawn(frequencies=weights)), minlength=10)
    even = np.bincount(np.ravel(drawn(frequencies=weights, prob_reduction=2.0)), minlength=10)
    assert plain[0] > 300
    assert even.max() - even.min() < 30
    stream = recurring(IMAGES, 3, **BASE, frequencies=weights, prob_reduction=2.0)
    assert stream.tasks[399].classes == drawn(frequencies=weights, prob_reduction=2.0)[399]  # asked for out of order


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"classes_per_task": 11}, "stream.classes_per_task is 11, but the stream has 10 classes"),
        ({"classes": 11}, "stream.classes is 11, but Toy has 10 classes"),
        ({"frequencies": [0.0] * 10}, "stream.frequencies sum to zero"),
        ({"frequencies": [1.0, *[0.0] * 9]}, "1 weights above zero, but a task needs 2"),
        ({"frequencies": [-1.0, *[1.0] * 9]}, "weights are numbers from 0 on"),
        ({"frequencies": [1.0]}, "has 1 weights, but the stream has 10 classes"),
        ({"frequencies": [1.0] * 10, "probability": "zipf"}, "Leave one out"),
        ({"phases": "forgetting", "classes_per_task": 6}, "leaves 5 of 10 classes"),
        ({"order": "cycle", "classes_per_task": 3}, "no whole number of groups of 3"),
        ({"order": "cycle", "probability": "zipf"}, "do not go with them"),
        ({"order": "cycle", "combinations": 0.5}, "exclude each other"),
        ({"combinations": 0.05}, "too few to show each of 10 classes"),
        (
            {"frequencies": [1.0] * 6 + [0.0] * 4, "phases": "halves"},
            "Task 400 of 400 of the stream needs 2 classes, but only 1",
        ),
        (
            {"frequencies": [0.0] * 5 + [1.0] * 5, "phases": "halves"},
            "Task 1 of 400 of the stream needs 2 classes, but only 0",
        ),
        ({"frequencies": [0.0] * 5 + [1.0] * 5, "phases": "forgetting"}, "(stream.phases is forgetting)"),
        (
            {"probability": "zipf", "exponent": 1000.0, "classes_per_task": 3},
            "have a probability above zero by then (stream.phases is same)",
        ),
        (
            {"prob_reduction": 1e6, "phases": "halves"},
            "Lower stream.classes_per_task, stream.exponent or stream.prob_reduction",
        ),
        ({"per_class": 13}, "stream.per_class is 13, but class 0 has 12 images"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(over: dict[str, Any], words: str) -> None:
    with pytest.raises(Problem) as caught:
        recurring(IMAGES, 0, **{**BASE, **over})
    assert words in str(caught.value)


def test_a_world_of_which_each_phase_can_be_drawn_from_is_not_refused() -> None:
    weights = [1.0, 1.0, *[0.0] * 6, 1.0, 1.0]
    tasks = drawn(frequencies=weights, phases="halves")
    assert set(tasks[:200]) == {(0, 1)}
    assert set(tasks[200:]) == {(8, 9)}
    alone = recurring(IMAGES, 3, **BASE, frequencies=[1.0, 1.0, *[0.0] * 7, 1.0], phases="halves", replacement=True)
    assert alone.tasks[399].classes == (9,)


# --- corruptions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_corruption_keeps_shape_and_range_and_is_a_function_of_its_address(family: str) -> None:
    images = np.random.default_rng(0).integers(0, 17, (6, 3, 16, 16), dtype=np.uint8)
    images[0, 0, 0, 0] = 16
    changes = []
    for severity in (1, 5):
        changed = Corrupt(family, severity, 0, 4)(images)
        assert (changed.shape, changed.dtype) == (images.shape, np.uint8)
        assert changed.max() <= 16
        assert np.array_equal(changed, Corrupt(family, severity, 0, 4)(images))
        changes.append(np.abs(changed.astype(float) - images).mean())
    assert (changes[1] > 0) == (family != "none")
    assert changes[1] >= changes[0]


def test_a_corrupted_task_is_shown_changed_and_remembered_clean() -> None:
    stream = recurring(IMAGES, 0, **BASE, corruption="gaussian_noise", severity=5)
    resident = Resident(stream)
    for task in (stream.tasks[7], stream.tasks[2]):
        shown, rows = resident.shown(task), resident.rows(task)
        raw = IMAGES.train.images[task.train]
        assert task.corruption is not None
        changed, clean = resident.batch(shown), resident.batch(rows)
        np.testing.assert_allclose(changed.x.numpy(), (task.corruption(raw) / 255 - 0.5) / 0.25, atol=1e-5)
        np.testing.assert_allclose(clean.x.numpy(), (raw / 255 - 0.5) / 0.25, atol=1e-5)
        assert changed.y.tolist() == clean.y.tolist() == resident.labels_of(shown).tolist()
    assert len(resident.inputs) == 120 + 24  # one task's place, whatever the number of tasks


# --- runs --------------------------------------------------------------------------------------------------------


def spec_of(small: Callable[..., RunSpec], learner: str = "masked", **over: Any) -> RunSpec:
    """A short run on a recurring stream."""
    return small(learner, {**RUN, **over})


def test_all_classes_are_measured_from_the_start_and_the_trace_says_what_was_trained(
    small: Callable[..., RunSpec],
) -> None:
    spec = spec_of(small)
    trace = loop.run(spec).trace()
    assert trace["step"].tolist() == list(range(0, 49, 4))
    assert (trace["seen"] == 10).all()
    accuracy = metrics.accuracy_matrix(trace["bits"], trace["offsets"], trace["seen"])
    assert accuracy.shape == (13, 10)
    assert not np.isnan(accuracy).any()
    trained = np.unpackbits(trace["trained"], axis=1, count=10)
    from common.build import build_stream

    stream: Stream = build_stream(spec)
    assert [tuple(np.flatnonzero(row)) for row in trained] == [task.classes for task in stream.tasks]


@pytest.mark.parametrize("learner", ["masked", "er", "gem", "papers.scole.learner.ReplayClasses"])
@pytest.mark.parametrize("over", [{}, {"stream.corruption": "random", "stream.severity": None}])
def test_a_run_stopped_in_mid_stream_goes_on_to_the_same_bytes(
    learner: str, over: dict[str, Any], small: Callable[..., RunSpec], tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(small, learner, **{**over, "stream.tasks": 16})
    monkeypatch.setenv("REPLICATE_RUNS", str(tmp_path / "whole"))
    whole = stored(loop.run(spec).path)
    monkeypatch.setenv("REPLICATE_RUNS", str(tmp_path / "cut"))
    for at in (1, 17, 31):
        left = iter(range(at))
        with pytest.raises(Stopped):
            loop.run(spec, Place(stop=lambda left=left: next(left, None) is None))
        assert RunFolder(runs_dir() / spec.run_id).status()["state"] == "interrupted"
    assert same(whole, stored(loop.run(spec).path))


def test_evaluation_at_chosen_tasks_moves_nothing_and_is_part_of_the_identity_only_when_set(
    small: Callable[..., RunSpec],
) -> None:
    dense, thin, log = (spec_of(small, **({"evaluation.tasks": tasks} if tasks else {})) for tasks in (None, 5, "log"))
    assert "tasks" not in dense.science["evaluation"]
    assert len({dense.run_id, thin.run_id, log.run_id}) == 3
    folders = [loop.run(spec) for spec in (dense, thin, log)]
    steps = [folder.trace()["step"].tolist() for folder in folders]
    assert steps[1] == [0, 20, 40, 48]
    assert steps[2] == [4 * n for n in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12)]
    weights = [stored(folder.path)[1] for folder in folders]
    assert same_weights(weights[0], weights[1])
    assert same_weights(weights[0], weights[2])


def test_log_spaced_numbers() -> None:
    found = [n for n in range(1, 101) if log_spaced(n)]
    assert found == sorted({round(10 ** (i / 12)) for i in range(25)})
    assert [n for n in range(10) if Evaluation(tasks=4).at_end_of(n, 10)] == [3, 7, 9]
    assert Evaluation().at_end_of(3, 10)


def test_ten_thousand_tasks_stay_small(small: Callable[..., RunSpec]) -> None:
    """What a run keeps besides the network grows by a few bytes a task."""
    import tracemalloc

    from lightning import Fabric

    from common.build import build
    from common.loop import ends_of

    spec = small("masked", {**RUN, "stream.tasks": 10_000})
    tracemalloc.start()
    stream, _ = build(spec, Fabric(accelerator="cpu", devices=1))
    ends = ends_of(spec, stream)
    stream.digest()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(ends) == 10_000
    assert grown < 5e6
