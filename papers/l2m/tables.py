"""The tables of L2M: means ± SD over seeds, percent, in both readings of success."""

from functools import partial
from typing import TYPE_CHECKING

from common.drawings import Table
from common.errors import Problem
from common.table import Tables
from papers.l2m.panels import NONE, SECONDARY, by_seed, cases_of, collected, mean_sd
from papers.l2m.statistics import summary

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "new tasks, ever": "new",
    "new tasks, last step": "new_last",
    "pre-training tasks, ever": "old",
    "pre-training tasks, last step": "old_last",
    "kept, ever": "retention",
    "new task when just learned, ever": "learned",
    "forgot of new tasks, ever": "forgot",
    "modulated, new tasks": "modulated_new",
    "modulated, pre-training tasks": "modulated_old",
}


def methods(spec: str, tables: Tables) -> "pd.DataFrame":
    """Every method of a spec at its end: a line a method, the frozen net first."""
    import pandas as pd

    lines = [_before(tables, spec)]
    for case, rows in cases_of(tables, spec).items():
        line = {"method": case}
        if spec == "sequence":
            line["CW10, last step, paper (secondary)"] = f"{SECONDARY[case]}" if case in SECONDARY else NONE
        line |= {words: mean_sd(by_seed(rows, name)) if name in rows else NONE for words, name in COLUMNS.items()}
        lines.append(line | {"seeds": str(rows["seed"].nunique())})
    return pd.DataFrame(lines).fillna(NONE)


def _before(tables: Tables, spec: str) -> dict[str, str]:
    """The frozen net, as every run found it."""
    rows = tables.where(spec=spec)
    names = {"new": "new_before", "new_last": "new_before_last", "old": "old_before", "old_last": "old_before_last"}
    found = {words: mean_sd(by_seed(rows, names[column])) for words, column in COLUMNS.items() if column in names}
    return {"method": "frozen"} | found | {"seeds": str(rows["seed"].nunique())}


def pretraining(tables: Tables) -> "pd.DataFrame":
    """The pre-trained policy on what it learned and on what it did not, before and after."""
    import pandas as pd

    rows = tables.where(spec="pretrain")
    if rows.empty:
        raise Problem("there are no runs of pretrain")
    shown = {"pre-training tasks": ("new_before", "new"), "other tasks": ("old_before", "old")}
    return pd.DataFrame(
        [
            {"tasks": words}
            | {
                f"{when}, {reading}": mean_sd(by_seed(rows, column + ending))
                for when, column in zip(("untrained", "pre-trained"), columns, strict=True)
                for reading, ending in (("ever", ""), ("last step", "_last"))
            }
            | {"seeds": str(rows["seed"].nunique())}
            for words, columns in shown.items()
        ]
    )


def data(tables: Tables) -> "pd.DataFrame":
    """The collected episodes, a line a task."""
    return summary(collected(tables))


TABLES = {
    "data": Table(data, ("trajectories",), "The collected episodes by task."),
    "pretraining": Table(pretraining, ("pretrain",), "The pre-trained policy (%)."),
    "sequence": Table(
        partial(methods, "sequence"),
        ("sequence",),
        "All methods after the sequence of new tasks (%); paper: CW10, from PSEC.",
    ),
    "sequence_dmc6": Table(partial(methods, "sequence_dmc6"), ("sequence_dmc6",), "All methods after DMC6 (%)."),
    "single": Table(
        partial(methods, "single"), ("single",), "All methods on one new task alone, mean over new tasks (%)."
    ),
    "ablation": Table(partial(methods, "ablation"), ("ablation",), "L2M with one thing changed (%)."),
}
