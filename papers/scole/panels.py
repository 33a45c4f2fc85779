"""Parts that the figures of SCoLe share: curves over tasks, facts of analyses as arrays, axes, the footnote."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from common import style
from common.drawings import data_titles
from common.errors import Problem
from common.table import Tables
from papers.scole.curves import over_tasks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


def line(
    axis: "Axes", points: "pd.DataFrame", rows: "pd.DataFrame", colour: object, label: str, how: str = "-"
) -> None:
    """Nothing; draws accuracy over tasks of those runs."""
    done, values = over_tasks(points, rows)
    style.band(axis, done[done > 0], 100 * values[:, done > 0], colour, label, how)


def per_class(facts: "pd.DataFrame", rows: "pd.DataFrame") -> "pd.DataFrame":
    """One row a run and class, a column a quantity."""
    own = facts[facts["run_id"].isin(list(rows["run_id"]))].assign(run_id=lambda t: t["run_id"].astype(str))
    if own.empty:
        raise Problem("no stored facts of those analyses")
    return own.pivot(index=["run_id", "class"], columns="quantity", values="value").reset_index()


def fact_curve(facts: "pd.DataFrame", rows: "pd.DataFrame", quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """(tasks done [P], values [runs, P])."""
    own = facts[facts["run_id"].isin(list(rows["run_id"])) & (facts["quantity"] == quantity)]
    wide = own.assign(run_id=own["run_id"].astype(str)).pivot(index="run_id", columns="after", values="value")
    return wide.columns.to_numpy(dtype=float), wide.to_numpy()


def task_axis(axis: "Axes", title: str) -> None:
    """Nothing; tasks done on a logarithmic x axis."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set(xlabel="tasks done", title=title)


def level(axes: "Iterable[Axes]", label: str = "accuracy (%)") -> None:
    """Nothing; one y axis for all panels, from 0 to the next multiple of 25 percent above what is drawn."""
    panels = list(axes)
    for axis in panels:
        style.percent(axis, label, high=style.span(*panels)[1])


def footnote(
    figure: "Canvas", tables: Tables, *specs: str, words: str = "", spread: str = "mean ± SD over {} seeds"
) -> None:
    """Nothing; data set, what is shown of how many seeds, and remarks below the figure."""
    rows = tables.runs[tables.runs["spec"].isin(specs)]
    parts = [", ".join(data_titles(rows)), spread.format(rows["seed"].nunique()), words]
    style.footnote(figure, "; ".join(filter(None, parts)))
