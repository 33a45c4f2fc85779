"""Class-incremental streams in the paper's class orders, their images changed where a spec asks for it.

Run r has the class order of trial r of the official code: r = 0 the natural one, else `random.seed(r)` and
`random.shuffle`, cut into tasks of equal numbers of classes.
"""

import random
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from common.errors import Problem, nearest
from common.rng import generator
from common.streams.builders import task_of
from common.streams.data import Images, Split
from common.streams.stream import Stream
from common.streams.subsets import limited
from papers.coda_prompt.pictures import CHANGES, STYLES, Rendered

VERSION = 1
DROPPED = 8  # kinds of images that a task of the dual shift lacks in training, of 15 (App. C)


def incremental(
    images: Images,
    seed: int,
    *,
    tasks: int,
    of: Literal["all", "even", "odd"] = "all",
    joint: bool = False,
    order: Literal["shuffled", "natural"] = "shuffled",
    mirrored: bool = False,
    renditions: list[str] = ["plain"],  # noqa: B006  (read from source, never changed)
    styles: bool = False,
    dual_shift: bool = False,
    unit_range: bool = False,
    per_class: int | None = None,
    test_per_class: int | None = None,
    evaluate_on: Literal["test", "validation"] = "test",
) -> Stream:
    """`tasks` disjoint sets of classes; with `joint` one task of all of them.

    of: the labels that take part. renditions: changes (pictures.py), each makes classes of its own. mirrored: every
    training image a second time, mirrored. styles: each image in one of fifteen styles, drawn once. dual_shift: training
    images of 8 of the 15 kinds (styles, or the data set's domains), drawn for each task, are left out. unit_range: pixels
    stay in [0, 1], as the paper's weights want them. per_class: so many images of a class, before they are mirrored.
    """
    images = _rendered(images, renditions, styles, of, per_class, test_per_class)
    if unit_range:
        ones = (1.0,) * len(images.mean)
        images = replace(images, mean=tuple(0.0 for _ in ones), std=ones)
    count = len(images.classes)
    if count % tasks:
        sum_of = f" ({count // len(renditions)} classes x {len(renditions)} renditions = {count})"
        raise Problem(
            f"stream.tasks is {tasks}, which does not divide the {count} classes of this stream"
            f"{sum_of if len(renditions) > 1 else ''}. Give a number that does."
        )
    listed = list(range(count))
    if order == "shuffled" and seed:
        random.Random(seed).shuffle(listed)
    chosen = np.array(listed).reshape(1 if joint else tasks, -1)
    relabel = np.empty(count, dtype=np.int64)
    relabel[chosen.ravel()] = np.arange(count)
    made = [task_of(images, k, own, None, None, None, evaluate_on, relabel[own]) for k, own in enumerate(chosen)]
    if dual_shift:
        made = [replace(task, train=_without(images, task.train, seed, task.index)) for task in made]
    if mirrored:  # the copies come after all images, so that those held out have none among the training images
        first = len(images.train.labels)
        made = [replace(task, train=np.r_[task.train, task.train + first]) for task in made]
        images = replace(images, train=_twice(images.train))
    return Stream(images, made, "class", relabel, count)


def _rendered(
    images: Images, names: list[str], styles: bool, of: str, per_class: int | None, test_per_class: int | None
) -> Images:
    """The images that take part, classes counted anew: those of the first rendition, of the second, ..."""
    if not names:
        raise Problem(f"stream.renditions is [], but must name one or more of: {', '.join(CHANGES)}.")
    if unknown := [name for name in names if name not in CHANGES]:
        raise Problem(
            f"stream.renditions has '{unknown[0]}'.{nearest(unknown[0], CHANGES)} Known: {', '.join(CHANGES)}."
        )
    every = np.arange(len(images.classes))
    kept = every[{"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}[of]]
    top = 16 if images.name == "digits" else 255  # the digits have 17 values
    halves = []
    for word, split, each in (("train", images.train, per_class), ("test", images.test, test_per_class)):
        rows = np.flatnonzero(np.isin(split.labels, kept))
        rows = limited(split.labels, rows, kept, each, f"stream.{'' if word == 'train' else 'test_'}per_class")
        labels = np.searchsorted(kept, split.labels[rows])
        if styles:
            kinds = generator(0, f"styles of {word}").integers(0, len(STYLES), len(rows))
            halves.append(Split(_read(split.images, rows, kinds, tuple(STYLES), top), labels, kinds))
            continue
        domain = None if split.domain is None else np.tile(split.domain[rows], len(names))
        kinds = np.repeat(np.arange(len(names)), len(rows))
        pictures = _read(split.images, np.tile(rows, len(names)), kinds, tuple(names), top)
        halves.append(Split(pictures, np.concatenate([labels + k * len(kept) for k in range(len(names))]), domain))
    classes = tuple(f"{images.classes[k]}{'' if n == 'plain' else f' {n}'}" for n in names for k in kept)
    domains = tuple(STYLES) if styles else images.domains
    return replace(images, train=halves[0], test=halves[1], classes=classes, domains=domains)


def _read(images: np.ndarray, rows: np.ndarray, kinds: np.ndarray, names: tuple[str, ...], top: int) -> Any:
    return Rendered(images, rows, kinds, names, top)


def _twice(split: Split) -> Split:
    """The split, and after it every image once more, mirrored."""
    count = len(split.labels)
    kinds = np.repeat(np.arange(2), count)
    pictures = _read(split.images, np.tile(np.arange(count), 2), kinds, ("plain", "mirrored"), 255)
    return Split(pictures, np.tile(split.labels, 2), None if split.domain is None else np.tile(split.domain, 2))


def _without(images: Images, rows: np.ndarray, seed: int, task: int) -> np.ndarray:
    """The rows without those of the kinds that the task lacks. Errors: Problem where images have no kinds."""
    domain = images.train.domain
    if domain is None or len(images.domains) <= DROPPED:
        raise Problem(f"stream.dual_shift needs images of more than {DROPPED} kinds. Set stream.styles=true.")
    gone = generator(seed, "dropped kinds", task).permutation(len(images.domains))[:DROPPED]
    return rows[~np.isin(domain[rows], gone)]
