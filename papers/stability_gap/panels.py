"""Parts that the figures of the stability gap share: kinds of axes, switch lines, metric marks, the footnote."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from common import style
from common.drawings import data_titles
from common.table import Tables
from papers.stability_gap.curves import Curves

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

METRICS = (
    ("acc", "ACC", "#000000"), ("min_acc", "min-ACC", "#0173b2"), ("wc_acc", "WC-ACC", "#56b4e9"),
    ("wf10", "WF10", "#d55e00"), ("forg", "FORG", "#de8f05"),
)  # fmt: skip


def shown_tasks(tasks: int) -> list[int]:
    """The tasks that are drawn: all of up to six, else five spread over the stream."""
    return list(range(tasks)) if tasks <= 6 else [0, *(round(tasks * share) for share in (0.2, 0.4, 0.6, 0.8))]


def metrics_at(axis: "Axes", rows: "pd.DataFrame", values: "Callable[[pd.DataFrame, str], pd.DataFrame]") -> None:
    """Nothing; ACC, min-ACC, WC-ACC at places 0, 1, ...; values: rows, metric -> a line a seed, a column a place."""
    for shift, (metric, label, colour) in zip((0, -0.04, 0.04), METRICS[:3], strict=True):
        found = 100 * values(rows, metric).dropna().to_numpy()
        style.bars(axis, np.arange(found.shape[1]) + shift, found, colour, label)
    style.percent(axis, "metric at the end (%)", high=style.span(axis)[1])


def mark_switches(axis: "Axes", curves: Curves) -> None:
    """Nothing; a thin line at every task switch."""
    for end in curves.ends[:-1]:
        axis.axvline(end, color=style.MUTED, lw=0.5, alpha=0.6, zorder=0)


def stream_axis(axis: "Axes", curves: Curves, title: str, rows: "pd.DataFrame") -> None:
    """Nothing; axes of accuracy over a whole stream, titled with the data set."""
    style.percent(axis, high=style.span(axis)[1])
    mark_switches(axis, curves)
    axis.set_xlim(0, curves.step[-1])
    axis.set_xlabel("iteration")
    axis.set_title(": ".join(word for word in (title, ", ".join(data_titles(rows))) if word), loc="left")


def switch_axes(axes: "list[Axes]", title: str = "") -> None:
    """Nothing; axes of updates since a switch, all with one y range."""
    low, high = style.span(*axes)
    for axis in axes:
        axis.axvline(0, color=style.MUTED, lw=0.5, alpha=0.6, zorder=0)
        axis.set_xlabel("iterations after the switch")
        style.percent(axis, low=low, high=high)
        if title:
            axis.set_title(title)


def footnote(figure: "Canvas", tables: Tables, spec: str, words: str = "", named: bool = False) -> None:
    """Nothing; below the figure: data sets (unless `named` in the titles already), seeds, and words."""
    rows = tables.where(spec=spec)
    counts = rows.groupby(rows["case"].fillna(""))["seed"].nunique()
    seeds = f"{counts.min()} to {counts.max()}" if counts.min() < counts.max() else str(counts.max())
    spread = f"mean ± SD over {seeds} seeds" if counts.max() > 1 else "one seed"
    parts = [] if named else data_titles(rows)
    style.footnote(figure, "; ".join(part for part in (*parts, spread, words) if part))
