"""Chosen classes: one task or several, so many images of each, and what is in and out of distribution."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from common.errors import Problem
from common.streams.builders import split
from common.streams.probe_sets import fitted, in_distribution, out_of_distribution
from common.streams.resident import Resident
from common.streams.subsets import choose, ood_classes, refuse_overlap, subset, used
from tests.test_streams import made

IMAGES = made(classes=6, per_class=12)


def labels_of(rows: np.ndarray) -> list[int]:
    return sorted(set(IMAGES.train.labels[rows].tolist()))


def test_one_task_of_the_first_classes_is_what_split_gives() -> None:
    ours, theirs = subset(IMAGES, 0, count=4), split(IMAGES, 0, tasks=1, classes_per_task=4)
    assert ours.digest() == theirs.digest()
    assert subset(IMAGES, 0, count=4, sizes=[2, 2]).digest() == split(IMAGES, 0, tasks=2, classes_per_task=2).digest()
    assert subset(IMAGES, 0).classes == 6


def test_listed_classes_keep_their_order() -> None:
    stream = subset(IMAGES, 0, classes=[5, 0, 3], sizes=[1, 2])
    assert stream.relabel.tolist() == [1, -1, -1, 2, -1, 0]
    assert [task.classes for task in stream.tasks] == [(0,), (1, 2)]
    assert [labels_of(task.train) for task in stream.tasks] == [[5], [0, 3]]
    data = Resident(stream)
    for task in stream.tasks:
        assert set(data.labels_of(data.rows(task)).tolist()) == set(task.classes)


def test_a_random_choice_has_an_address_of_its_own() -> None:
    one = subset(IMAGES, 0, draw=3, sizes=[3, 3])
    assert one.digest() == subset(IMAGES, 17, draw=3, sizes=[3, 3]).digest()
    assert len({tuple(choose(IMAGES, 3, draw)) for draw in range(20)}) > 10
    assert choose(IMAGES, 2, 5) == choose(IMAGES, 4, 5)[:2]


def test_so_many_images_of_each_class_the_same_in_every_subset() -> None:
    few = subset(IMAGES, 0, classes=[4, 2], per_class=5, test_per_class=3).tasks[0]
    more = subset(IMAGES, 9, count=6, per_class=7).tasks[0]
    assert np.bincount(IMAGES.train.labels[few.train], minlength=6).tolist() == [0, 0, 5, 0, 5, 0]
    assert np.bincount(IMAGES.test.labels[few.test], minlength=6).tolist() == [0, 0, 3, 0, 3, 0]
    assert set(few.train) <= set(more.train)
    held = subset(IMAGES, 0, count=2, per_class=5, evaluate_on="validation").tasks[0]
    assert not set(held.train) & set(held.test)
    assert (len(held.train), len(held.test), held.source) == (10, 4, "train")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"count": 7}, "stream.count is 7, but Toy has 6 classes. Lower it."),
        ({"classes": [0, 6]}, "give labels of Toy, 0 to 5"),
        ({"classes": [1, 1]}, "each once"),
        ({"classes": []}, "each once"),
        ({"classes": [1], "draw": 0}, "Give one or the other"),
        ({"sizes": [2, 2]}, r"add up to 4, but 6 classes are chosen"),
        ({"per_class": 13}, "stream.per_class is 13, but class 0 has 12"),
        ({"test_per_class": 5}, "stream.test_per_class is 5, but class 0 has 4"),
    ],
)
def test_impossible_subsets(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(Problem, match=says):
        subset(IMAGES, 0, **settings)


def test_out_of_distribution_means_never_shown() -> None:
    stream = subset(IMAGES, 0, classes=[5, 0, 3])
    assert used(stream) == [0, 3, 5]
    for draw in range(10):
        assert not set(ood_classes(stream, IMAGES, 2, draw)) & {0, 3, 5}
    assert sorted(ood_classes(stream, IMAGES)) == [1, 2, 4]
    other = replace(IMAGES, name="other", title="Other")
    assert sorted(ood_classes(stream, other)) == [0, 1, 2, 3, 4, 5]
    refuse_overlap(stream, other, [0, 3])
    with pytest.raises(Problem, match=r"trained on 2 of the classes .*: 0 \(a\), 3 \(d\). .* not seen: \[1, 2, 4\]"):
        refuse_overlap(stream, IMAGES, [3, 1, 0])
    with pytest.raises(Problem, match="4 classes are asked for, but Toy has 3 besides the 3 to avoid"):
        ood_classes(stream, IMAGES, 4)
    cifar, cinic = replace(IMAGES, name="cifar10"), replace(IMAGES, name="cinic10", title="CINIC-10")
    with pytest.raises(Problem, match="CINIC-10 and Toy hold the same images"):
        ood_classes(subset(cifar, 0, count=2), cinic)
    with pytest.raises(Problem, match="hold the same images"):
        refuse_overlap(subset(cinic, 0, count=2), cifar, [4])


def test_probe_sets_look_as_the_network_saw_its_images() -> None:
    stream = subset(IMAGES, 0, classes=[5, 0, 3], per_class=4)
    inside = in_distribution(stream, train_per_class=4)
    data = Resident(stream)
    seen = data.batch(data.rows(stream.tasks[0]))
    assert inside.classes == (5, 0, 3)
    assert torch.equal(inside.train.x, seen.x)  # the very images it was trained on
    assert torch.equal(inside.train.y, seen.y)
    assert torch.equal(inside.test[:3][0], inside.test.x[:3])
    outside = out_of_distribution(stream, IMAGES, count=2, draw=1, train_per_class=5, test_per_class=2)
    assert (len(outside.train), len(outside.test)) == (10, 4)
    assert outside.train.y.bincount().tolist() == [5, 5]
    with pytest.raises(Problem, match="that are to be out of distribution"):
        out_of_distribution(stream, IMAGES, [1, 5])
    with pytest.raises(Problem, match="train_per_class is 99"):
        out_of_distribution(stream, IMAGES, [1], train_per_class=99)


def test_pictures_of_another_size_are_brought_to_the_networks() -> None:
    big = made(classes=3, size=11, seed=4)
    colour = replace(big, name="big", train=replace(big.train, images=np.repeat(big.train.images, 3, axis=1)))
    stream = subset(IMAGES, 0)
    probe = out_of_distribution(stream, colour, train_per_class=3)
    assert probe.train.x.shape == (9, 1, 5, 5)
    assert torch.equal(fitted(probe.train.pixels, (3, 5, 5))[:, 1:2], probe.train.pixels)
    flat = torch.full((2, 3, 8, 8), 77, dtype=torch.uint8)
    assert torch.equal(fitted(flat, (1, 4, 4)), torch.full((2, 1, 4, 4), 77, dtype=torch.uint8))
