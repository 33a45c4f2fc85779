"""The recipe of a recurring stream: from the number of a task to its classes and rows."""

import hashlib
from dataclasses import dataclass, field

import numpy as np

from common.errors import Problem
from common.rng import generator
from common.streams.corruptions import drawn
from common.streams.frequencies import Floats
from common.streams.stream import Task


@dataclass(eq=False)
class Recurring:
    """Which classes a task has, from its number alone; draws have an address a purpose (common/streams/recurring.py).

    With a reduction of probabilities a task depends on those before it: their classes are drawn first, and remembered.
    """

    count: int
    width: int
    seed: int
    probabilities: Floats
    of_class: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    replacement: bool
    groups: np.ndarray | None  # int64 [groups, width]: the only ones that occur
    cycle: bool
    phases: str
    reduction: float | None
    corruption: str
    severity: int | None
    _met: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rows = np.sort(np.concatenate(self.of_class))
        self.sizes = np.array([len(rows) for rows in self.of_class])
        self.corrupts = self.corruption != "none"
        self._left = self.probabilities

    def classes_of(self, index: int) -> np.ndarray:
        """int64, ascending: the classes of that task."""
        if self.reduction is None:
            return self._drawn(index, self.probabilities)
        while len(self._met) <= index:
            found = self._drawn(len(self._met), self._left)
            left = self._left.copy()
            left[found] /= self.reduction
            self._left = left / left.sum()
            self._met.append(found)
        return self._met[index]

    def _drawn(self, index: int, probabilities: Floats) -> np.ndarray:
        if self.groups is not None and self.cycle:
            return self.groups[index % len(self.groups)]
        rng = generator(self.seed, "classes of task", index)
        if self.groups is not None:
            return self.groups[rng.integers(len(self.groups))]
        allowed = probabilities * self._open(index)
        likely = int((allowed > 0).sum())
        if likely < (1 if self.replacement else self.width):
            raise Problem(
                f"Task {index + 1} of {self.count} of the stream needs {self.width} classes, but only {likely} have a probability "
                f"above zero by then (stream.phases is {self.phases}). Lower stream.classes_per_task, stream.exponent or "
                "stream.prob_reduction, give more of stream.frequencies a weight, or set stream.phases=same."
            )
        return np.unique(rng.choice(len(allowed), self.width, self.replacement, allowed / allowed.sum()))

    def _open(self, index: int) -> np.ndarray:
        """bool [classes]: those that may occur at that time."""
        first = np.arange(len(self.sizes)) < len(self.sizes) // 2
        late = index >= self.count // 2
        if self.phases == "halves":
            return ~first if late else first
        return first if self.phases == "forgetting" and late else np.ones(len(self.sizes), dtype=bool)

    def task(self, index: int) -> Task:
        """The task of that number."""
        classes = self.classes_of(index)
        rows = np.concatenate([self.of_class[c] for c in classes])
        name = ",".join(self.names[c] for c in classes[:3]) + (",..." if len(classes) > 3 else "")
        change = drawn(self.corruption, self.severity, self.seed, index)
        nothing = np.zeros(0, dtype=np.int64)
        return Task(index, name, rows, nothing, tuple(int(c) for c in classes), corruption=change)

    def size(self, index: int) -> int:
        """Training images of that task."""
        if not self.replacement and (self.sizes == self.sizes[0]).all():
            return int(self.width * self.sizes[0])
        return int(self.sizes[self.classes_of(index)].sum())

    def digest(self) -> str:
        """Hexadecimal SHA-256 of all that decides the tasks."""
        plain = (self.count, self.width, self.seed, self.replacement, self.cycle, self.phases, self.reduction,
                 self.corruption, self.severity)  # fmt: skip
        total = hashlib.sha256(repr(plain).encode() + self.probabilities.tobytes())
        for array in (*self.of_class, *(() if self.groups is None else (self.groups,))):
            total.update(array.tobytes() + b"|")
        return total.hexdigest()
