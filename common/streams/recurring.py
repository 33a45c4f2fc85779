"""The stream of SCoLe: tasks of k classes drawn again and again from a world of a few classes; any number of tasks.

Each purpose draws from a generator of its own, so that runs of the same seed that differ in probabilities of nothing but
images, corruptions or learners see the same sequence of classes. What is measured is every class, from the start.
"""

import itertools
import math
from typing import Literal

import numpy as np

from common.errors import Problem
from common.rng import generator
from common.streams.data import Images
from common.streams.frequencies import Floats, entropy_decrease, zipf
from common.streams.recipe import Recurring
from common.streams.stream import Lazy, Stream, Task
from common.streams.subsets import limited

MOST_COMBINATIONS = 1_000_000


def recurring(
    images: Images,
    seed: int,
    *,
    tasks: int,
    classes_per_task: int,
    classes: int | None = None,
    probability: Literal["uniform", "entropy_decrease", "zipf"] = "uniform",
    exponent: float = 1.0,
    frequencies: list[float] | None = None,
    prob_reduction: float | None = None,
    replacement: bool = False,
    order: Literal["drawn", "cycle"] = "drawn",
    combinations: float | None = None,
    phases: Literal["same", "halves", "forgetting"] = "same",
    per_class: int | None = None,
    test_per_class: int | None = None,
    corruption: Literal[
        "none", "random", "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "gaussian_blur", "defocus_blur",
        "motion_blur", "zoom_blur", "contrast", "brightness", "saturate",
    ] = "none",
    severity: int | None = 1,
    evaluate_on: Literal["test", "validation"] = "test",
) -> Stream:  # fmt: skip
    """`tasks` tasks of `classes_per_task` of the world's classes each; the whole world is measured.

    classes: size of the world, drawn by the seed (null: all). probability, exponent: how often classes are drawn, which
    class has which probability by the seed; or `frequencies`, a weight for each class. prob_reduction: a class that was
    drawn has its probability divided by it. replacement: a class may be drawn twice, which leaves a task with fewer.
    order: cycle goes through the world in fixed disjoint groups. combinations: only that share of all groups ever occurs.
    phases: halves draws from the first half of the classes in the first half of the tasks, then from the second;
    forgetting from all, then from the first half alone. per_class, test_per_class: images of each class (null: all).
    corruption: of the training images of every task, of a family or a random one; severity 1 to 5 (null: drawn).
    """
    count = len(images.classes) if classes is None else classes
    _refuse(images, count, classes_per_task, probability, frequencies, order, combinations, phases)
    world = np.arange(count)
    if count < len(images.classes):
        world = np.sort(generator(seed, "world").permutation(len(images.classes))[:count])
    train, test = _rows_of(images, world, per_class, test_per_class, evaluate_on)
    recipe = Recurring(
        tasks,
        classes_per_task,
        seed,
        _probabilities(count, probability, exponent, frequencies, seed),
        tuple(train),
        tuple(images.classes[label] for label in world),
        replacement,
        _groups(count, classes_per_task, order, combinations, seed),
        order == "cycle",
        phases,
        prob_reduction,
        corruption,
        severity,
    )
    for index in (0, tasks - 1 if prob_reduction is None or phases != "same" else 0):
        recipe.classes_of(index)  # a phase that cannot be drawn from is refused here, not when a run gets there
    relabel = np.full(len(images.classes), -1, dtype=np.int64)
    relabel[world] = np.arange(count)
    source: Literal["train", "test"] = "test" if evaluate_on == "test" else "train"
    nothing = np.zeros(0, dtype=np.int64)
    parts = [Task(c, recipe.names[c], nothing, test[c], (c,), None, source) for c in range(count)]
    return Stream(images, Lazy(recipe), "class", relabel, count, parts)


def _refuse(
    images: Images, count: int, width: int, probability: str, frequencies: list[float] | None, order: str,
    combinations: float | None, phases: str,
) -> None:  # fmt: skip
    """Nothing. Errors: Problem with all settings that do not go together."""
    found = []
    if count > len(images.classes):
        found.append(f"stream.classes is {count}, but {images.title} has {len(images.classes)} classes. Lower it.")
    if width > count:
        found.append(f"stream.classes_per_task is {width}, but the stream has {count} classes. Lower it.")
    if phases != "same" and width > count // 2:
        found.append(
            f"stream.phases is '{phases}', which leaves {count // 2} of {count} classes, fewer than stream.classes_per_task="
            f"{width}. Lower it."
        )
    grouped = order == "cycle" or combinations is not None
    if grouped and (probability != "uniform" or frequencies is not None or phases != "same"):
        found.append(
            "stream.order=cycle and stream.combinations draw whole groups of classes: stream.probability, stream.frequencies "
            "and stream.phases do not go with them."
        )
    if order == "cycle" and combinations is not None:
        found.append("stream.order=cycle and stream.combinations exclude each other. Leave one out.")
    if order == "cycle" and count % width:
        found.append(f"stream.order is 'cycle', but {count} classes are no whole number of groups of {width}.")
    if frequencies is not None:
        found += _wrong_weights(frequencies, count, width, probability)
    if found:
        raise Problem(*found)


def _wrong_weights(weights: list[float], count: int, width: int, probability: str) -> list[str]:
    """What is wrong with the weights of classes."""
    if probability != "uniform":
        return [
            f"stream.frequencies gives the weights that stream.probability={probability} would compute. Leave one out."
        ]
    if len(weights) != count:
        return [
            f"stream.frequencies has {len(weights)} weights, but the stream has {count} classes. Give one for each."
        ]
    if any(weight < 0 or not math.isfinite(weight) for weight in weights):
        return [f"stream.frequencies is {weights}; weights are numbers from 0 on."]
    positive = sum(weight > 0 for weight in weights)
    if not positive:
        return ["stream.frequencies sum to zero: no class would ever be drawn. Give some a weight."]
    if positive < width:
        return [f"stream.frequencies has {positive} weights above zero, but a task needs {width} classes."]
    return []


def _probabilities(count: int, kind: str, exponent: float, frequencies: list[float] | None, seed: int) -> Floats:
    """Probability of each class; those computed from a formula are put to classes in an order drawn by the seed."""
    if frequencies is not None:
        weights = np.array(frequencies, dtype=np.float64)
        return weights / weights.sum()
    if kind == "uniform":
        return np.full(count, 1 / count)
    p = (entropy_decrease if kind == "entropy_decrease" else zipf)(count, exponent)
    return p[generator(seed, "probabilities of classes").permutation(count)]


def _groups(count: int, width: int, order: str, share: float | None, seed: int) -> np.ndarray | None:
    """int64 [groups, width]: the groups of a cycle, or those combinations that occur; None: any may.

    A choice of combinations that leaves a class out is drawn again: its accuracy could not rise, whatever is learned.
    """
    if order == "cycle":
        return np.sort(generator(seed, "cycle").permutation(count).reshape(-1, width), axis=1)
    if share is None:
        return None
    total = math.comb(count, width)
    kept = int(share * total)
    if total > MOST_COMBINATIONS:
        raise Problem(f"stream.combinations: {count} classes have {total:,} combinations of {width}; too many to list.")
    every = np.array(list(itertools.combinations(range(count), width)))
    for attempt in range(10_000 if kept * width >= count else 0):
        chosen = every[generator(seed, "combinations", step=attempt).permutation(total)[:kept]]
        if len(np.unique(chosen)) == count:
            return chosen
    raise Problem(
        f"stream.combinations is {share:g}, which keeps {kept} of {total} combinations: too few to show each of {count} "
        "classes. Raise it."
    )


def _rows_of(
    images: Images, world: np.ndarray, per_class: int | None, test_per_class: int | None, where: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """(rows to train on, rows to measure on) of each class of the world; of training images where `where` says so."""
    train, test = [], []
    for label in world:
        rows = np.flatnonzero(images.train.labels == label)
        held = np.flatnonzero(images.test.labels == label)
        if where == "validation":
            rows, held = rows[: len(rows) - len(rows) // 5], rows[len(rows) - len(rows) // 5 :]
        own = [int(label)]
        source = images.test.labels if where == "test" else images.train.labels
        train.append(limited(images.train.labels, rows, own, per_class, "stream.per_class"))
        test.append(limited(source, held, own, test_per_class, "stream.test_per_class"))
    return train, test
