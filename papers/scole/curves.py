"""From the stored tables to arrays: accuracy over tasks of the runs of a cell, and the words that name a cell."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from common.errors import Problem
from common.table import Tables

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
MASKS = {"none": "no mask", "task": "mask", "group": "mask"}
MASK_COLOURS = {"none": "#0173b2", "task": "#d55e00", "group": "#d55e00"}


def over_tasks(points: "pd.DataFrame", rows: "pd.DataFrame", parts: slice | None = None) -> tuple[Floats, Floats]:
    """(tasks done [P], accuracy [runs, P]): the mean over all classes, or over some, where every run was measured.

    parts: which classes. Errors: Problem when there is no stored curve of those runs.
    """
    own = points[points["run_id"].isin(list(rows["run_id"].unique()))]
    if parts is not None:
        own = own[own["task"].isin(range(*parts.indices(int(own["task"].max()) + 1)))]
    if own.empty:
        raise Problem(f"no stored curves of {', '.join(rows['spec'].unique())}")
    own = own.assign(run_id=own["run_id"].astype(str))
    # a task's end is the last evaluation with that number of tasks done
    mean = (
        own.groupby(["run_id", "after", "step"], observed=True)["accuracy"].mean().groupby(["run_id", "after"]).last()
    )
    wide: Any = mean.unstack().dropna(axis=1)
    return wide.columns.to_numpy(dtype=np.float64), wide.to_numpy(dtype=np.float64)


_SGD, _MOMENTUM, _ADAM, _FAST = ("#000000", "-"), ("#de8f05", "--"), ("#029e73", "-."), ("#029e73", ":")
CASES = {  # colour and line of an optimiser or data set, at every tier
    "SGD-0.1": _SGD, "SGD-0.05": _SGD, "MNIST": _SGD,
    "SGD-0.1-m0.9": _MOMENTUM, "SGD-0.05-m0.9": _MOMENTUM, "MNIST-m0.9": _MOMENTUM, "SGD-0.01-m0.9": ("#de8f05", ":"),
    "Adam-1e-3": _ADAM, "MNIST-Adam-1e-3": _ADAM, "Adam-1e-2": _FAST, "MNIST-Adam-1e-2": _FAST,
    "Fashion-MNIST": ("#cc78bc", "-"), "KMNIST": ("#ca9161", "-"), "CIFAR-10": ("#949494", "-"),
    "CIFAR-100": ("#56b4e9", "-"), "Tiny-ImageNet": ("#fbafe4", "-"),
}  # fmt: skip


def cells(rows: "pd.DataFrame", *by: str) -> "dict[tuple[Any, ...], pd.DataFrame]":
    """Values of those columns -> the rows that have them, in order."""
    return {key: own for key, own in rows.groupby(list(by), sort=True, dropna=False)}


def of_mask(rows: "pd.DataFrame") -> "list[tuple[str, pd.DataFrame]]":
    """(mask, rows) without mask first."""
    names = [name for name in ("none", "task", "group") if (rows["learner.mask"] == name).any()]
    return [(name, rows[rows["learner.mask"] == name]) for name in names]


def references(tables: Tables) -> dict[str, float]:
    """case -> mean accuracy of training on all classes at once."""
    rows = tables.runs[tables.runs["spec"] == "iid"]
    return {str(case): float(own["late"].mean()) for case, own in rows.groupby("case")}
