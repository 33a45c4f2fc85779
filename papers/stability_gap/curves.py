"""Accuracy curves and gradient norms as arrays over seeds, cut out of the stored tables."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from common.errors import Problem
from common.table import Tables

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Curves:
    """Accuracy of a set of runs that differ in the seed only.

    step int [E], updates made; percent float [T, S, E], accuracy of task t in run s, NaN while unseen; ends int [T],
    updates at the end of each task.
    """

    step: Ints
    percent: Floats
    ends: Ints

    @property
    def tasks(self) -> int:
        """Number of tasks."""
        return len(self.ends)

    def seen(self, task: int) -> tuple[Ints, Floats]:
        """Steps [n] and accuracy [S, n] of a task from its first evaluation on."""
        start = int(np.argmax(~np.isnan(self.percent[task, 0])))
        return self.step[start:], self.percent[task, :, start:]

    def around(self, switch: int, tasks: list[int], before: int, after: int) -> tuple[Ints, Floats]:
        """Updates since a switch [n] and the mean accuracy [S, n] of `tasks`, up to the end of the next task.

        switch s: the change from learning task s to s + 1.
        """
        last = min(self.ends[switch] + after, self.ends[switch + 1])
        rows = (self.step >= self.ends[switch] - before) & (self.step <= last)
        return self.step[rows] - self.ends[switch], self.percent[tasks][:, :, rows].mean(axis=0)

    def around_all(self, before: int, after: int, only_last: bool = False) -> tuple[Ints, Floats]:
        """As `around`, the mean over all pairs of an old task and a switch (only_last: the task just ended alone)."""
        lengths = np.diff(self.ends, prepend=0)
        before, after = min(before, int(lengths.min()) - 1), min(after, int(lengths[1:].min()))
        pairs = [(s, task) for s in range(self.tasks - 1) for task in range(s if only_last else 0, s + 1)]
        cut = [self.around(switch, [task], before, after) for switch, task in pairs]
        return cut[0][0], np.mean([values for _, values in cut], axis=0)


def curves_of(points: "pd.DataFrame", rows: "pd.DataFrame") -> Curves:
    """The curves of the runs in `rows`; points: run_id, step, task, accuracy. Errors: Problem when they have none."""
    own = points[points["run_id"].isin(list(rows["run_id"].unique()))]
    if own.empty:
        raise Problem(f"no stored curves of {', '.join(rows['spec'].unique())}")
    wide = own.assign(run_id=own["run_id"].astype(str)).pivot(
        index="step", columns=["task", "run_id"], values="accuracy"
    )
    step = wide.index.to_numpy(dtype=np.int64)
    tasks = wide.columns.get_level_values("task").unique().sort_values()
    percent = np.stack([100 * wide[task].to_numpy(dtype=np.float64).T for task in tasks])
    # a task is first evaluated after its first update: the evaluation before that is the end of the task before
    begins = [int(np.argmax(~np.isnan(percent[task, 0]))) for task in range(1, len(tasks))]
    return Curves(step, percent, np.array([*(step[begin - 1] for begin in begins), step[-1]]))


def norms_after_switches(scalars: "pd.DataFrame", rows: "pd.DataFrame", ends: Ints, after: int) -> dict[str, Floats]:
    """ "plasticity" and "stability" -> gradient norm [S, after], mean over the switches, at each update after them.

    Position 0 is the gradient of the first update of a task, at the weights that the task before left.
    Errors: Problem when the runs hold no gradient norms.
    """
    own = scalars[scalars["run_id"].isin(list(rows["run_id"].unique()))]
    if own.empty or "grad_stability" not in own:
        raise Problem(f"no stored gradient norms of {', '.join(rows['spec'].unique())}")
    after = min(after, int(np.diff(ends).min()))
    found: dict[str, Floats] = {}
    for name in ("plasticity", "stability"):
        wide: Any = own.assign(run_id=own["run_id"].astype(str)).pivot(
            index="update", columns="run_id", values=f"grad_{name}"
        )
        values = wide.to_numpy(dtype=np.float64).T
        found[name] = np.mean([values[:, end : end + after] for end in ends[:-1]], axis=0)
    return found


def in_order(tables: Tables, spec: str, order: tuple[str, ...] = ()) -> "dict[str, pd.DataFrame]":
    """Case -> rows of a spec, cases of `order` first and in that order."""
    rows = tables.where(spec=spec)
    cases = list(rows["case"].fillna("").unique())
    known = [case for case in order if case in cases]
    return {case: rows[rows["case"].fillna("") == case] for case in known + [c for c in cases if c not in known]}
