"""A stream is a value: a handle on images and a lazy list of tasks. One can print it, slice it and digest it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from common.streams.data import Images

Scenario = Literal["class", "task", "domain"]


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
    """

    index: int
    name: str
    train: np.ndarray
    test: np.ndarray
    classes: tuple[int, ...]
    transform: Transform | None = None
    source: Literal["train", "test"] = "test"

    def __str__(self) -> str:
        how = f", {self.transform!r}" if self.transform else ""
        return f"task {self.index} '{self.name}': {len(self.train)} train, {len(self.test)} {self.source}{how}"


@dataclass(frozen=True, eq=False)
class Stream:
    """A sequence of tasks on one data set.

    relabel: int64 [labels of the data set] -> class of the stream, -1 for classes it does not use.
    classes: number of classes of the stream, the width of the output layer.
    """

    images: Images
    tasks: Sequence[Task]
    scenario: Scenario
    relabel: np.ndarray
    classes: int

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, span: slice) -> "Stream":
        """The stream of the tasks in that slice; labels and output layer stay as they are."""
        return replace(self, tasks=self.tasks[span])

    def __str__(self) -> str:
        head = f"{self.images.title}, {self.scenario}-incremental, {len(self)} tasks, {self.classes} classes"
        return "\n".join([head, *(f"  {task}" for task in self.tasks)])

    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything that defines the stream, its data's content included."""
        total = hashlib.sha256(f"{self.images.digest} {self.scenario} {self.classes}".encode())
        total.update(self.relabel.tobytes())
        for task in self.tasks:
            total.update(f"{task.index} {task.name} {task.classes} {task.transform!r} {task.source}".encode())
            total.update(task.train.tobytes() + b"|" + task.test.tobytes())
        return total.hexdigest()
