"""What the trace of a recurring run says, as arrays: accuracy of every class after tasks, and which tasks trained it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """A run at the ends of tasks, in order.

    done: int64 [E], tasks done. accuracy: [E, C], of each class. trained: bool [T, C], classes of each task. tasks: T.
    """

    done: npt.NDArray[np.int64]
    accuracy: Floats
    trained: npt.NDArray[np.bool_]
    tasks: int

    @property
    def mean(self) -> Floats:
        """[E]: accuracy on all classes, each counted alike."""
        return self.accuracy.mean(axis=1)

    def between(self, first: float, last: float) -> npt.NDArray[np.bool_]:
        """bool [E]: evaluations after more than `first` and at most `last` tasks; the last one alone when there is none."""
        found = (self.done > first) & (self.done <= last)
        return found if found.any() else self.done == self.done[self.done <= max(last, self.done[0])].max()

    def since(self) -> npt.NDArray[np.int64]:
        """int64 [E, C]: tasks since a class was last trained, 0 where it was in the last task, -1 where never."""
        number = np.arange(1, self.tasks + 1)[:, None]
        last = np.maximum.accumulate(np.where(self.trained, number, 0), axis=0)[self.done - 1]
        return np.where(last > 0, self.done[:, None] - last, -1)


def course(trace: dict[str, np.ndarray], accuracy: Floats) -> Course:
    """The course of a run with that trace and accuracy matrix."""
    at = np.isin(trace["step"], trace["ends"]) & (trace["step"] > 0)
    # several evaluations of one update are one (a task's end that is also a multiple of evaluation.every)
    at &= np.r_[trace["step"][1:] != trace["step"][:-1], True]
    classes = accuracy.shape[1]
    trained = np.unpackbits(trace["trained"], axis=1, count=classes).astype(bool)
    return Course(trace["task"][at] + 1, accuracy[at], trained, len(trace["ends"]))
