"""Streams of chosen classes: one task (an in-distribution set), or the classes cut into tasks; and classes to probe with.

`subset` with its defaults is one task of all classes. A random choice has an address of its own (`draw`), as the choice
of images has: seeds of a run change neither.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from common.errors import Problem
from common.rng import generator
from common.streams.builders import task_of
from common.streams.data import Images
from common.streams.stream import Stream

# data sets whose images another one holds too, so that neither is out of distribution for the other
SAME_IMAGES = ({"cifar10", "cinic10", "cinic10_180k"},)


def subset(
    images: Images,
    seed: int,
    *,
    classes: list[int] | None = None,
    count: int | None = None,
    draw: int | None = None,
    sizes: list[int] | None = None,
    per_class: int | None = None,
    test_per_class: int | None = None,
    scenario: Literal["class", "task"] = "class",
    evaluate_on: Literal["test", "validation"] = "test",
) -> Stream:
    """Tasks of `sizes` classes each (null: one task of all) from the listed `classes`, or from `count` (null: all) of them.

    draw: null takes the first `count` labels in their order, a number takes a random choice in random order.
    per_class, test_per_class: exactly so many images of each class, the same ones in whatever subset (null: all).
    """
    chosen = _listed(images, classes, count, draw)
    sizes = [len(chosen)] if sizes is None else sizes
    if sum(sizes) != len(chosen):
        raise Problem(f"stream.sizes {sizes} add up to {sum(sizes)}, but {len(chosen)} classes are chosen.")
    relabel = np.full(len(images.classes), -1, dtype=np.int64)
    relabel[chosen] = np.arange(len(chosen))
    tasks = []
    for index, last in enumerate(np.cumsum(sizes)):
        own = np.array(chosen[last - sizes[index] : last])
        task = task_of(images, index, own, None, None, None, evaluate_on, relabel[own])
        test = images.test.labels if evaluate_on == "test" else images.train.labels
        train = limited(images.train.labels, task.train, own, per_class, "stream.per_class")
        tasks.append(
            replace(task, train=train, test=limited(test, task.test, own, test_per_class, "stream.test_per_class"))
        )
    return Stream(images, tasks, scenario, relabel, len(chosen))


def choose(images: Images, count: int | None, draw: int | None, avoid: Sequence[int] = ()) -> list[int]:
    """`count` labels of a data set (None: all) without those to avoid: the first ones, or a random choice in random order."""
    left = [label for label in range(len(images.classes)) if label not in set(avoid)]
    if count is not None and not 1 <= count <= len(left):
        besides = f" besides the {len(set(avoid))} to avoid" if avoid else ""
        raise Problem(f"{count} classes are asked for, but {images.title} has {len(left)}{besides}. Ask for fewer.")
    if draw is not None:
        left = [left[i] for i in generator(draw, "choice of classes").permutation(len(left))]
    return left[:count]


def ood_classes(trained_on: Stream, images: Images, count: int | None = None, draw: int | None = 0) -> list[int]:
    """A seeded choice of labels of `images` that the stream never shows; of another data set any of its labels.

    Errors: Problem when it has too few of them, or holds the same images as the stream's data set.
    """
    _apart(trained_on, images)
    return choose(images, count, draw, used(trained_on) if images.name == trained_on.images.name else ())


def refuse_overlap(trained_on: Stream, images: Images, labels: Sequence[int]) -> None:
    """Nothing. Errors: Problem naming the classes that the stream shows too, or a data set of the same images."""
    _apart(trained_on, images)
    both = sorted(set(labels) & set(used(trained_on))) if images.name == trained_on.images.name else []
    if both:
        names = ", ".join(f"{label} ({images.classes[label]})" for label in both[:5])
        raise Problem(
            f"The network was trained on {len(both)} of the classes that are to be out of distribution: {names}. "
            f"Classes of {images.title} it has not seen: {choose(images, None, None, used(trained_on))[:20]}."
        )


def used(stream: Stream) -> list[int]:
    """Labels of the data set that the stream uses."""
    return [int(label) for label in np.flatnonzero(stream.relabel >= 0)]


def limited(labels: np.ndarray, rows: np.ndarray, classes: Iterable[int], each: int | None, what: str) -> np.ndarray:
    """Exactly `each` of the rows of every class, by a draw of the class's own; all rows for None. Errors: Problem."""
    if each is None:
        return rows
    kept = []
    for label in classes:
        of_class = rows[labels[rows] == label]
        if each > len(of_class):
            raise Problem(f"{what} is {each}, but class {label} has {len(of_class)} images. Lower it.")
        kept.append(generator(0, f"of class {label}").permutation(of_class)[:each])
    return np.sort(np.concatenate(kept))


def _listed(images: Images, classes: list[int] | None, count: int | None, draw: int | None) -> list[int]:
    if classes is None:
        if count is not None and count > len(images.classes):
            raise Problem(f"stream.count is {count}, but {images.title} has {len(images.classes)} classes. Lower it.")
        return choose(images, count, draw)
    if count is not None or draw is not None:
        raise Problem(
            "stream.classes names the classes; stream.count and stream.draw choose them. Give one or the other."
        )
    wrong = [label for label in classes if not 0 <= label < len(images.classes)]
    if wrong or len(set(classes)) != len(classes) or not classes:
        raise Problem(
            f"stream.classes is {classes}; give labels of {images.title}, 0 to {len(images.classes) - 1}, each once."
        )
    return classes


def _apart(trained_on: Stream, images: Images) -> None:
    for names in SAME_IMAGES:
        if images.name != trained_on.images.name and {images.name, trained_on.images.name} <= names:
            raise Problem(
                f"{images.title} and {trained_on.images.title} hold the same images, so neither is out of distribution "
                "for the other. Use another data set."
            )
