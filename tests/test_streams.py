"""Streams are values: disjoint, balanced, sliceable, digested; their images lie on the device once."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Problem
from common.streams import data
from common.streams.builders import domains, permuted, rotated, split
from common.streams.data import Images, Split
from common.streams.resident import Resident
from common.streams.stream import Stream
from common.streams.transforms import Permute, Rotate


def made(classes: int = 6, per_class: int = 12, seed: int = 0, domains: int = 0, size: int = 5) -> Images:
    """A small data set of random images; labels in random order, `domains` domains of equal size."""
    rng = np.random.default_rng(seed)

    def part(n: int) -> Split:
        labels = rng.permutation(np.repeat(np.arange(classes), n * max(domains, 1)))
        pixels = rng.integers(0, 256, (len(labels), 1, size, size), dtype=np.uint8)
        if not domains:
            return Split(pixels, labels)
        domain = np.zeros(len(labels), dtype=np.int64)
        for label in range(classes):
            domain[labels == label] = np.repeat(np.arange(domains), n)
        return Split(pixels, labels, domain)

    names = tuple("abcdefghij"[:classes])
    extra = tuple(f"d{i}" for i in range(domains))
    return Images("toy", "Toy", part(per_class), part(4), names, "digest", False, (0.5,), (0.25,), extra)


IMAGES = made()
SHARED: dict[str, Any] = {"train_per_task": None, "test_per_task": None, "evaluate_on": "test"}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 5), st.integers(0, 3))
def test_split_has_disjoint_classes_in_order_and_every_image_of_them(
    tasks: int, width: int, first: int, seed: int
) -> None:
    images = made(seed=seed)
    if tasks * width > 6 - first:
        with pytest.raises(Problem, match="Lower one of the two"):
            split(images, 0, tasks=tasks, classes_per_task=width, first_class=first)
        return
    stream = split(images, 0, tasks=tasks, classes_per_task=width, first_class=first)
    assert len(stream) == tasks
    assert stream.classes == tasks * width
    used: list[int] = []
    for k, task in enumerate(stream.tasks):
        assert task.classes == tuple(range(k * width, (k + 1) * width))
        for rows, part in ((task.train, images.train), (task.test, images.test)):
            wanted = [c + first for c in task.classes]
            assert rows.tolist() == np.flatnonzero(np.isin(part.labels, wanted)).tolist()
            assert set(stream.relabel[part.labels[rows]]) == set(task.classes)
        used += task.train.tolist()
    assert len(set(used)) == len(used)
    assert (stream.relabel >= 0).sum() == stream.classes


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 24), st.integers(2, 8), st.integers(0, 5))
def test_a_part_of_a_task_has_equally_many_of_each_class_and_grows(train: int, test: int, seed: int) -> None:
    images = made(seed=seed)
    stream = split(images, 0, tasks=3, classes_per_task=2, train_per_task=train, test_per_task=test)
    more = split(images, 7, tasks=3, classes_per_task=2, train_per_task=min(24, train + 1), test_per_task=test)
    for task, larger in zip(stream.tasks, more.tasks, strict=True):
        assert (len(task.train), len(task.test)) == (train, test)
        for rows, part in ((task.train, images.train), (task.test, images.test)):
            counts = np.unique(part.labels[rows], return_counts=True)[1]
            assert counts.max() - counts.min() <= 1
            assert rows.tolist() == sorted(set(rows.tolist()))
        assert set(task.train) <= set(larger.train)  # whatever the seed


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.sampled_from(["split", "rotated", "permuted", "domains"]), st.none() | st.integers(10, 20))
def test_validation_rows_are_the_last_fifth_and_never_trained_on(seed: int, kind: str, part: int | None) -> None:
    images = made(seed=seed, domains=2 if kind == "domains" else 0)
    more: dict[str, Any] = {"train_per_task": part, "evaluate_on": "validation"}
    if kind == "split":
        stream = split(images, 0, tasks=3, classes_per_task=2, **more)
    elif kind == "rotated":
        stream = rotated(images, 0, tasks=2, degrees=30.0, **{**more, "train_per_task": part and 6 * part // 2})
    elif kind == "permuted":
        stream = permuted(images, 0, tasks=2, **{**more, "train_per_task": part and 6 * part // 2})
    else:
        stream = domains(images, 0, tasks=2, **{**more, "train_per_task": part and 6 * part // 2})
    for task in stream.tasks:
        assert task.source == "train"
        assert not set(task.train) & set(task.test)
        labels = images.train.labels
        for label in np.unique(labels[task.train]):
            inside, held = task.train[labels[task.train] == label], task.test[labels[task.test] == label]
            assert len(held) == (len(inside) + len(held)) // 5
            assert not len(held) or inside.max() < held.min()


def test_validation_measures_on_training_images() -> None:
    stream = split(IMAGES, 0, tasks=3, classes_per_task=2, evaluate_on="validation")
    held_out = Resident(stream).evaluation(None, 0)
    raw = held_out.x * 0.25 * 255 + 0.5 * 255
    first = stream.tasks[0]
    theirs = np.sort(IMAGES.train.images[first.test].reshape(len(first.test), -1).sum(1))
    ours = np.sort(raw[: held_out.offsets[1]].reshape(len(first.test), -1).sum(1).round().numpy())
    assert ours.tolist() == theirs.tolist()


def test_rotated_permuted_and_domain_streams_share_their_classes() -> None:
    turned = rotated(IMAGES, 0, tasks=3, degrees=40.0)
    assert [repr(t.transform) for t in turned.tasks] == [
        "None", "Rotate(degrees=40.0, interpolation='nearest')", "Rotate(degrees=80.0, interpolation='nearest')",
    ]  # fmt: skip
    mixed = permuted(IMAGES, 5, tasks=3)
    assert [t.transform for t in mixed.tasks] == [None, Permute(5, 1), Permute(5, 2)]
    with_domains = made(domains=3)
    wide = domains(with_domains, 0, tasks=3)
    for k, task in enumerate(wide.tasks):
        assert task.name == f"d{k}"
        assert with_domains.train.domain is not None
        assert set(with_domains.train.domain[task.train]) == {k}
    for stream in (turned, mixed, wide):
        assert stream.scenario == "domain"
        assert all(task.classes == tuple(range(6)) for task in stream.tasks)
    with pytest.raises(Problem, match="has no domains"):
        domains(IMAGES, 0, tasks=2)
    with pytest.raises(Problem, match="has 3 domains: d0, d1, d2"):
        domains(with_domains, 0, tasks=4)


# --- digest, text, slices ------------------------------------------------------------------------------------


def variants() -> dict[str, Stream]:
    """Streams that differ from "base" in one ingredient each."""
    base: dict[str, Any] = {"tasks": 3, "classes_per_task": 2}
    return {
        "base": split(IMAGES, 0, **base),
        "data": split(replace(IMAGES, digest="other"), 0, **base),
        "tasks": split(IMAGES, 0, tasks=2, classes_per_task=2),
        "width": split(IMAGES, 0, tasks=2, classes_per_task=3),
        "first": split(IMAGES, 0, tasks=2, classes_per_task=2, first_class=2),
        "scenario": split(IMAGES, 0, **base, scenario="task"),
        "train": split(IMAGES, 0, **base, train_per_task=20),
        "test": split(IMAGES, 0, **base, test_per_task=4),
        "validation": split(IMAGES, 0, **base, evaluate_on="validation"),
        "rotated": rotated(IMAGES, 0, tasks=3, degrees=30.0),
        "degrees": rotated(IMAGES, 0, tasks=3, degrees=31.0),
        "bilinear": rotated(IMAGES, 0, tasks=3, degrees=30.0, interpolation="bilinear"),
        "permuted": permuted(IMAGES, 0, tasks=3),
        "permuted seed": permuted(IMAGES, 1, tasks=3),
        "domains": domains(made(domains=3), 0, tasks=3),
    }


def test_the_digest_tells_every_ingredient_apart_and_nothing_else() -> None:
    one, again = variants(), variants()
    digests = {name: stream.digest() for name, stream in one.items()}
    assert len(set(digests.values())) == len(digests)
    assert digests == {name: stream.digest() for name, stream in again.items()}
    assert split(IMAGES, 99, tasks=3, classes_per_task=2).digest() == digests["base"]  # rows are of no seed


def test_frozen_digest_of_the_digits() -> None:
    """A change here changes what stored runs mean: raise the builder's version in common/parts.py with it."""
    stream = split(data.load("digits"), 0, tasks=5, classes_per_task=2, train_per_task=100)
    assert stream.digest()[:16] == "ed7313b0dd75b607"


def test_a_stream_can_be_printed_and_sliced() -> None:
    stream = split(IMAGES, 0, tasks=3, classes_per_task=2)
    assert str(stream).splitlines() == [
        "Toy, class-incremental, 3 tasks, 6 classes",
        "  task 0 'a,b': 24 train, 8 test",
        "  task 1 'c,d': 24 train, 8 test",
        "  task 2 'e,f': 24 train, 8 test",
    ]
    part = stream[1:]
    assert (len(part), part.classes) == (2, 6)
    assert [t.name for t in part.tasks] == ["c,d", "e,f"]
    assert len({stream.digest(), part.digest(), stream[:2].digest(), stream[:].digest()}) == 3


# --- transforms ------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 100), st.integers(0, 5), st.integers(1, 3))
def test_permute_moves_pixels_the_same_way_in_every_image(seed: int, task: int, channels: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (4, channels, 5, 6), dtype=np.uint8)
    moved = Permute(seed, task)(images)
    assert moved.shape == images.shape
    assert moved.dtype == np.uint8
    place = Permute(seed, task)(np.arange(30, dtype=np.uint8).reshape(1, 1, 5, 6)).reshape(-1)
    assert sorted(place) == list(range(30))
    assert np.array_equal(moved.reshape(4, channels, -1), images.reshape(4, channels, -1)[:, :, place])
    assert np.array_equal(Permute(seed, task)(images[2:]), moved[2:])  # whatever stands beside it
    assert not np.array_equal(Permute(seed, task + 1)(images), moved)


def test_rotate_turns_counter_clockwise_and_fills_with_zero() -> None:
    images = np.random.default_rng(0).integers(1, 256, (3, 2, 7, 7), dtype=np.uint8)
    assert np.array_equal(Rotate(90)(images), np.rot90(images, 1, axes=(2, 3)))
    assert np.array_equal(Rotate(0)(images), images)
    assert np.array_equal(Rotate(180)(images), np.rot90(images, 2, axes=(2, 3)))
    for how in ("nearest", "bilinear"):
        turned = Rotate(45, how)(images)
        assert turned[:, :, 0, 0].max() == 0
        assert turned.dtype == np.uint8
        assert np.array_equal(Rotate(45, how)(images[1:2])[0], turned[1])


# --- resident ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(variants()))
def test_a_batch_holds_the_normalised_images_and_labels_of_its_rows(name: str) -> None:
    stream = variants()[name]
    resident = Resident(stream)
    for task in stream.tasks:
        chosen = np.random.default_rng(1).permutation(len(task.train))[:7]
        batch = resident.batch(resident.rows(task)[chosen])
        raw = stream.images.train.images[task.train[chosen]]
        raw = task.transform(raw) if task.transform else raw
        expected = (raw / 255 - stream.images.mean[0]) / stream.images.std[0]
        np.testing.assert_allclose(batch.x.numpy(), expected, atol=1e-5)
        labels = stream.relabel[stream.images.train.labels[task.train[chosen]]]
        assert batch.y.tolist() == labels.tolist() == resident.labels_of(resident.rows(task)[chosen]).tolist()
        if stream.scenario == "task":
            assert batch.columns is not None
            assert all(np.flatnonzero(row).tolist() == list(task.classes) for row in batch.columns.numpy())
        else:
            assert batch.columns is None


def test_tasks_on_the_same_images_share_one_table() -> None:
    stream = split(IMAGES, 0, tasks=3, classes_per_task=2)
    many = replace(stream, tasks=[replace(stream.tasks[k % 3], index=k) for k in range(30)])
    assert len(Resident(many).inputs) == len(Resident(stream).inputs) == 72
    assert len(Resident(rotated(IMAGES, 0, tasks=3, degrees=30.0)).inputs) == 3 * 72
    assert Resident(stream).inputs.dtype == torch.uint8


def test_evaluation_samples_are_sorted_by_task_fixed_by_the_seed_and_nested() -> None:
    stream = split(IMAGES, 0, tasks=3, classes_per_task=2)
    resident = Resident(stream)
    whole = resident.evaluation(None, 3)
    assert whole.offsets.tolist() == [0, 8, 16, 24]
    assert [sorted(set(whole.y[a:b].tolist())) for a, b in ((0, 8), (8, 16), (16, 24))] == [[0, 1], [2, 3], [4, 5]]
    part, again, other = (resident.evaluation(3, seed) for seed in (3, 3, 4))
    assert part.offsets.tolist() == [0, 3, 6, 9]
    assert torch.equal(part.x, again.x)
    assert not torch.equal(part.x, other.x)
    for k in range(3):  # the first n of a task are what a smaller evaluation would have taken
        assert torch.equal(part.x[3 * k : 3 * k + 3], whole.x[8 * k : 8 * k + 3])
    assert resident.evaluation(10**6, 3).offsets.tolist() == [0, 8, 16, 24]
