"""A stream is a value: a handle on images and a sequence of tasks. One can print it, slice it and digest it.

The sequence is a list, or `Lazy`: a recipe that makes each task when it is asked for, so that a stream of any number of
tasks costs no more memory than one of them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

import numpy as np

from common.streams.data import Images

if TYPE_CHECKING:
    from common.streams.resident import Resident

Scenario = Literal["class", "task", "domain"]
SHOWN = 24  # a longer stream is printed by its first and last tasks


class Transform(Protocol):
    """What defines a task besides its rows: a fixed map of images to images. `repr` is its identity."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, C, H, W] -> uint8 [N, C, H, W]."""
        ...


@dataclass(frozen=True, eq=False)
class Task:
    """One learning task: rows of the data set, its classes and its transform.

    train: int64 row numbers in the training split. test: (evaluation split is `source`) row numbers to measure on.
    classes: labels of the stream (0 .. stream.classes-1) that occur in the task.
    source: the split that `test` points into: "test", or "train" when hyper-parameters are being selected.
    corruption: a map of the training images for this task alone, made when the task begins and not kept after it.
    """

    index: int
    name: str
    train: np.ndarray
    test: np.ndarray
    classes: tuple[int, ...]
    transform: Transform | None = None
    source: Literal["train", "test"] = "test"
    corruption: Transform | None = None

    def __str__(self) -> str:
        how = "".join(f", {change!r}" for change in (self.transform, self.corruption) if change)
        return f"task {self.index} '{self.name}': {len(self.train)} train, {len(self.test)} {self.source}{how}"


class Recipe(Protocol):
    """What makes the tasks of a lazy stream; all of them are trained on some of `rows`, without a fixed transform."""

    count: int  # tasks
    rows: np.ndarray  # int64, every row of the training split that a task may use
    corrupts: bool  # whether a task may have a corruption

    def task(self, index: int) -> Task:
        """The task of that number, whatever was asked for before."""
        ...

    def size(self, index: int) -> int:
        """Its number of training images, without making it."""
        ...

    def digest(self) -> str:
        """Hexadecimal SHA-256 of all that decides what the tasks are."""
        ...


class Lazy(Sequence[Task]):
    """The tasks of a recipe, each made when it is asked for; a slice is lazy too."""

    def __init__(self, recipe: Recipe, span: range | None = None) -> None:
        self.recipe, self.span = recipe, range(recipe.count) if span is None else span

    def __len__(self) -> int:
        return len(self.span)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> "Lazy": ...
    def __getitem__(self, index: int | slice) -> "Task | Lazy":
        if isinstance(index, slice):
            return Lazy(self.recipe, self.span[index])
        return self.recipe.task(self.span[index])


@dataclass(frozen=True, eq=False)
class Stream:
    """A sequence of tasks on one data set.

    relabel: int64 [labels of the data set] -> class of the stream, -1 for classes it does not use.
    classes: number of classes of the stream, the width of the output layer.
    parts: what is measured, all of it from the start, where that is not one part a task, those seen so far. A part is
        a task of which only the evaluation side counts.
    """

    images: Images
    tasks: Sequence[Task]
    scenario: Scenario
    relabel: np.ndarray
    classes: int
    parts: Sequence[Task] | None = None

    @property
    def measured(self) -> Sequence[Task]:
        """What is measured: the parts, or the tasks themselves."""
        return self.tasks if self.parts is None else self.parts

    def beside_mb(self, samples: int) -> int:
        """Memory that measuring `samples` of each part takes beside images: simulators, for one."""
        return 0

    def resident(self, device: Any) -> "Resident":
        """Its samples on a device. A stream of other samples than images gives a Resident of its own."""
        from common.streams.resident import Resident

        return Resident(self, device)

    def sizes(self) -> np.ndarray:
        """int64 [tasks]: training images of each task."""
        if isinstance(self.tasks, Lazy):
            return np.array([self.tasks.recipe.size(index) for index in self.tasks.span], dtype=np.int64)
        return np.array([len(task.train) for task in self.tasks], dtype=np.int64)

    def tables(self) -> list[tuple[Transform | None, np.ndarray]]:
        """Every fixed transform with the training rows that some task shows under it, ascending."""
        if isinstance(self.tasks, Lazy):
            return [(None, self.tasks.recipe.rows)]
        transforms = {repr(task.transform): task.transform for task in self.tasks}
        return [
            (transform, np.unique(np.concatenate([t.train for t in self.tasks if repr(t.transform) == name])))
            for name, transform in transforms.items()
        ]

    @property
    def corrupts(self) -> bool:
        """Whether a task may have a corruption."""
        return (
            self.tasks.recipe.corrupts if isinstance(self.tasks, Lazy) else any(task.corruption for task in self.tasks)
        )

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, span: slice) -> "Stream":
        """The stream of the tasks in that slice; labels and output layer stay as they are."""
        return replace(self, tasks=self.tasks[span])

    def __str__(self) -> str:
        head = f"{self.images.title}, {self.scenario}-incremental, {len(self)} tasks, {self.classes} classes"
        if len(self) <= SHOWN:
            return "\n".join([head, *(f"  {task}" for task in self.tasks)])
        between = f"  ... {len(self) - SHOWN // 2:,} more ..."
        first, last = self.tasks[: SHOWN // 2 - 1], self.tasks[-1:]
        return "\n".join([head, *(f"  {task}" for task in first), between, *(f"  {task}" for task in last)])

    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that defines the stream, its data's content included."""
        total = hashlib.sha256(f"{self.images.digest} {self.scenario} {self.classes}".encode())
        total.update(self.relabel.tobytes())
        listed: list[Task] = list(self.parts or ())
        if isinstance(self.tasks, Lazy):
            total.update(f"{self.tasks.span} {self.tasks.recipe.digest()}".encode())
        else:
            listed += self.tasks
        for task in listed:
            total.update(f"{task.index} {task.name} {task.classes} {task.transform!r} {task.source}".encode())
            total.update(repr(task.corruption).encode() if task.corruption else b"")
            total.update(task.train.tobytes() + b"|" + task.test.tobytes())
        return total.hexdigest()
