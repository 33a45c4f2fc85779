"""The tables of SCoLe: every cell of the study of masks and optimisers, and all other studies in a line each.

Data frames of texts, in percent, mean ± SD over seeds. Thresholds are looked for at the evaluations that curves keep:
log-spaced and some fifty evenly spaced tasks.
"""

from typing import TYPE_CHECKING

import numpy as np

from common.drawings import Table
from common.errors import Problem
from common.table import Tables
from papers.scole.curves import cells, over_tasks, references

if TYPE_CHECKING:
    import pandas as pd

SHOWN = {f"a_{t}": f"after {t} tasks" for t in (1, 10, 50, 100, 500, 1000)} | {
    "late": "late", "gain": "gain", "recency_gap": "last task's classes less others", "jump": "jump an evaluation",
}  # fmt: skip
OTHERS = {
    "cycle": ("learner.mask",),
    "balanced": ("learner.mask", "stream.classes"),
    "unbalanced": ("learner.mask",),
    "replay": ("case",),
    "classes_per_task": ("learner.mask", "stream.classes_per_task"),
    "epochs": ("budget.epochs",),
    "forgetting": ("learner.mask",),
    "pairs": ("learner.mask", "stream.combinations"),
    "corruption": ("stream.corruption",),
    "width": ("model.hidden", "model.width"),
    "fresh": ("learner.mask", "optimiser.fresh"),
    "architectures": ("case",),
}
FOLLOWING = 5  # evaluations whose mean must stay above a threshold


def accumulation(tables: Tables) -> "pd.DataFrame":
    """Optimiser, mask, A_t, late accuracy and over the reference, tasks to a half and nine tenths of it, slope, area."""
    import pandas as pd

    rows, points, known = tables.where(spec="accumulation"), tables.curves, references(tables)
    lines = []
    for (case, mask), own in cells(rows, "case", "learner.mask").items():
        line = {"optimiser": case, "mask": mask} | _shown(own, rows)
        if case in known:
            done, values = over_tasks(points, own)
            normal = values[:, done > 0] / known[case]
            line["late, normalised"] = f"{100 * own['late'].mean() / known[case]:.1f}"
            line |= {f"tau({x})": _tasks_to(done[done > 0], normal, x) for x in (0.5, 0.9)}
            line["slope"] = mean_sd(own, "slope")
            line["area"] = f"{100 * float(np.mean([area(done[done > 0], curve) for curve in normal])):.1f}"
        lines.append(line)
    return pd.DataFrame(lines).fillna("–")


def others(tables: Tables) -> "pd.DataFrame":
    """A line a cell of every other study."""
    import pandas as pd

    lines = []
    for spec, by in OTHERS.items():
        rows = tables.runs[tables.runs["spec"] == spec]
        if rows.empty:
            continue
        kept = [name for name in by if name in rows and rows[name].notna().any()]
        for key, own in cells(rows, *kept).items():
            words = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in zip(kept, key, strict=True))
            lines.append({"study": spec, "cell": words} | _shown(own, tables.runs))
    if not lines:
        raise Problem("none of the other studies has runs")
    return pd.DataFrame(lines).fillna("–")


def _shown(own: "pd.DataFrame", rows: "pd.DataFrame") -> dict[str, str]:
    """What is shown of a cell's runs, of the columns that any of `rows` has."""
    return {words: mean_sd(own, name) for name, words in SHOWN.items() if name in rows and rows[name].notna().any()}


def mean_sd(rows: "pd.DataFrame", column: str) -> str:
    """ "52.3 ± 5.1" of fractions; a dash without any."""
    values = 100 * rows[column].dropna().to_numpy(dtype=float) if column in rows else np.zeros(0)
    if not len(values):
        return "–"
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}" if len(values) > 1 else f"{values[0]:.1f}"


def tasks_to(done: np.ndarray, curve: np.ndarray, threshold: float) -> float:
    """The first task at which a curve is at a threshold and stays there in the mean of the next five evaluations; NaN: never."""
    for at in np.flatnonzero(curve >= threshold):
        after = curve[at + 1 : at + 1 + FOLLOWING]
        if not len(after) or after.mean() >= threshold:
            return float(done[at])
    return float("nan")


def area(done: np.ndarray, curve: np.ndarray) -> float:
    """Mean height of a curve over the logarithm of tasks."""
    x = np.log(done)
    return float(np.trapezoid(curve, x) / (x[-1] - x[0]))


def _tasks_to(done: np.ndarray, curves: np.ndarray, threshold: float) -> str:
    found = [tasks_to(done, curve, threshold) for curve in curves]
    reached = [value for value in found if value == value]
    missing = "" if len(reached) == len(found) else f" ({len(reached)} of {len(found)} seeds)"
    return f"{np.median(reached):g}{missing}" if reached else "never"


TABLES = {
    "accumulation_table": Table(accumulation, ("accumulation", "iid"), "Every optimiser and mask (accuracy in %)."),
    "studies_table": Table(others, ("cycle",), "Every other study (accuracy in %)."),
}
