"""Builders of streams: they differ only in the list of tasks that they return.

Positional: the images and the run's seed. Keyword-only: the settings a spec may give (`stream: {name: split, ...}`).
Rows are chosen once for all seeds: seeds change weights, batches, memories and evaluation subsets, as in the papers.
Settings that several builders share:
  train_per_task, test_per_task: at most this many images of each task, equally many per class (null = all).
  evaluate_on: "test", or "validation": the last fifth of each class's training rows is measured on and never
      trained on. Hyper-parameters are selected there, so that test images stay unseen.
"""

from typing import Literal

import numpy as np

from common.errors import Problem
from common.rng import generator
from common.streams.data import Images
from common.streams.stream import Scenario, Stream, Task, Transform
from common.streams.transforms import Permute, Rotate

Where = Literal["test", "validation"]


def split(
    images: Images,
    seed: int,
    *,
    tasks: int,
    classes_per_task: int,
    scenario: Literal["class", "task"] = "class",
    first_class: int = 0,
    train_per_task: int | None = None,
    test_per_task: int | None = None,
    evaluate_on: Literal["test", "validation"] = "test",
) -> Stream:
    """Disjoint classes, `classes_per_task` new ones a task in the order of their labels, from `first_class` on."""
    wanted = tasks * classes_per_task
    available = len(images.classes) - first_class
    if wanted > available:
        raise Problem(
            f"stream.tasks={tasks} x stream.classes_per_task={classes_per_task} needs {wanted} classes, but {images.title} "
            f"has {available} from class {first_class} on. Lower one of the two."
        )
    labels = np.arange(first_class, first_class + wanted).reshape(tasks, classes_per_task)
    listed = [
        task_of(images, k, row, None, train_per_task, test_per_task, evaluate_on, row - first_class)
        for k, row in enumerate(labels)
    ]
    return Stream(images, listed, scenario, _relabel(images, first_class, wanted), wanted)


def rotated(
    images: Images,
    seed: int,
    *,
    tasks: int = 3,
    degrees: float,
    interpolation: Literal["nearest", "bilinear"] = "nearest",
    train_per_task: int | None = None,
    test_per_task: int | None = None,
    evaluate_on: Literal["test", "validation"] = "test",
) -> Stream:
    """The same images turned by 0, `degrees`, 2 x `degrees` ... in successive tasks; all classes in each."""
    turns: list[Transform | None] = [Rotate(k * degrees, interpolation) if k else None for k in range(tasks)]
    return _shared_classes(images, turns, train_per_task, test_per_task, evaluate_on)


def permuted(
    images: Images,
    seed: int,
    *,
    tasks: int = 5,
    train_per_task: int | None = None,
    test_per_task: int | None = None,
    evaluate_on: Literal["test", "validation"] = "test",
) -> Stream:
    """The same images under one fixed random order of pixels per task (the first task as they are)."""
    orders: list[Transform | None] = [Permute(seed, k) if k else None for k in range(tasks)]
    return _shared_classes(images, orders, train_per_task, test_per_task, evaluate_on)


def domains(
    images: Images,
    seed: int,
    *,
    tasks: int,
    train_per_task: int | None = None,
    test_per_task: int | None = None,
    evaluate_on: Literal["test", "validation"] = "test",
) -> Stream:
    """One domain of the data set after the other, in the data set's order; all classes in each."""
    if images.train.domain is None or images.test.domain is None:
        raise Problem(f"stream.name is 'domains', but {images.title} has no domains. Use data: mini_domainnet.")
    names = images.domains
    if tasks > len(names):
        raise Problem(f"stream.tasks is {tasks}, but {images.title} has {len(names)} domains: {', '.join(names)}.")
    every = np.arange(len(images.classes))
    listed = [
        task_of(images, k, every, None, train_per_task, test_per_task, evaluate_on, every, domain=k)
        for k in range(tasks)
    ]
    return Stream(images, listed, "domain", every, len(every))


def _shared_classes(
    images: Images, transforms: list[Transform | None], train: int | None, test: int | None, where: Where
) -> Stream:
    every = np.arange(len(images.classes))
    listed = [task_of(images, k, every, t, train, test, where, every) for k, t in enumerate(transforms)]
    scenario: Scenario = "domain"
    return Stream(images, listed, scenario, every, len(every))


def _relabel(images: Images, first: int, count: int) -> np.ndarray:
    table = np.full(len(images.classes), -1, dtype=np.int64)
    table[first : first + count] = np.arange(count)
    return table


def task_of(
    images: Images,
    index: int,
    labels: np.ndarray,
    transform: Transform | None,
    train_per_task: int | None,
    test_per_task: int | None,
    evaluate_on: Where,
    classes: np.ndarray,
    domain: int | None = None,
) -> Task:
    """The task of some labels: its rows, and what it is called. Errors: Problem when a side of it would be empty."""
    train = _rows(images.train.labels, labels, train_per_task, "train", images.train.domain, domain)
    if evaluate_on == "test":
        test = _rows(images.test.labels, labels, test_per_task, "test", images.test.domain, domain)
    else:
        held = np.zeros(len(train), dtype=bool)
        for label in labels:
            of_class = np.flatnonzero(images.train.labels[train] == label)
            held[of_class[len(of_class) - len(of_class) // 5 :]] = True
        train, test = train[~held], train[held]
    shown = [images.classes[label] for label in labels[:3]] + (["..."] if len(labels) > 3 else [])
    name = images.domains[domain] if domain is not None else ",".join(shown)
    if transform is not None or (len(labels) == len(images.classes) and domain is None):
        name = repr(transform) if transform else "as it is"
    if not len(train) or not len(test):
        raise Problem(f"Task {index} ({name}) of {images.title} has {len(train)} training and {len(test)} test images.")
    source: Literal["train", "test"] = "test" if evaluate_on == "test" else "train"
    return Task(index, name, train, test, tuple(int(c) for c in classes), transform, source)


def _rows(
    labels: np.ndarray,
    wanted: np.ndarray,
    per_task: int | None,
    split_name: str,
    domains: np.ndarray | None,
    domain: int | None,
) -> np.ndarray:
    """Sorted row numbers of the wanted labels: all, or equally many per class, chosen once for all seeds."""
    here = np.isin(labels, wanted)
    if domain is not None and domains is not None:
        here &= domains == domain
    rows = np.flatnonzero(here)
    if per_task is None:
        return rows
    if per_task > len(rows) or per_task < len(wanted):
        raise Problem(
            f"stream.{split_name}_per_task is {per_task}, but must lie between {len(wanted)} (one per class) and {len(rows)} "
            "(the images there are)."
        )
    shuffled = generator(0, f"subset {split_name}").permutation(rows)
    ranks = np.empty(len(labels), dtype=np.int64)  # how many of the same class came before, in shuffled order
    for label in wanted:
        of_class = shuffled[labels[shuffled] == label]
        ranks[of_class] = np.arange(len(of_class))
    first = shuffled[np.argsort(ranks[shuffled], kind="stable")][:per_task]
    return np.sort(first)
