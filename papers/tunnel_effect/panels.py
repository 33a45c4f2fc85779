"""What the figures of the tunnel effect share: runs by case, curves over layers, axes that count layers, the shaded tunnel."""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from common import style
from common.drawings import data_titles
from common.errors import Problem
from common.table import Tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


def cases_of(tables: Tables, spec: str) -> dict[str, "pd.DataFrame"]:
    """case -> runs, in the order of the layers' number and name. Errors: Problem when there are none."""
    runs = tables.where(spec=spec)
    if runs.empty:
        raise Problem(f"there are no runs of {spec}")
    named = runs["case"].fillna("").astype(str)
    order = sorted(named.unique(), key=lambda case: (int("0" + "".join(filter(str.isdigit, case))), case))
    return {case: runs[named == case] for case in order}


def facts_of(tables: Tables, runs: "pd.DataFrame") -> "pd.DataFrame":
    """The facts of those runs."""
    facts = tables.facts
    return facts[facts["run_id"].isin(runs["run_id"].astype(str))]


def curves(facts: "pd.DataFrame", quantity: str, at: int | None = None) -> np.ndarray:
    """[runs, layers] of a quantity; at 0: [runs, 1], of the network as a whole."""
    rows = facts[(facts["quantity"] == quantity) & (facts["index"] > 0 if at is None else facts["index"] == at)]
    return rows.pivot_table(index="run_id", columns="index", values="value", observed=True).to_numpy()


def layer_axis(axis: "Axes", count: int, runs: "pd.DataFrame") -> None:
    """Nothing; the x axis counts layers, and the tunnel is shaded."""
    whole_layers(axis, count)
    axis.set_xlabel("layer")
    s95 = float(runs["s95"].median())
    if s95 == s95 and s95 < count:
        axis.axvspan(s95 + 0.5, count + 0.5, color=style.MUTED, alpha=0.15, lw=0)
        above = axis.get_xaxis_transform()
        axis.text(count + 0.4, 1.01, "tunnel", transform=above, ha="right", size=7, color=style.MUTED)


def level(axes: "Iterable[Axes]", least: float = 0) -> None:
    """Nothing; all panels get percent axes of one length (at least `least`), in multiples of five, around what each shows."""
    panels = list(axes)
    spans = [(5 * math.floor(axis.dataLim.y0 / 5), min(100, 5 * math.ceil(axis.dataLim.y1 / 5))) for axis in panels]
    length = max(least, *(high - low for low, high in spans))
    for axis, (low, _) in zip(panels, spans, strict=True):
        start = min(low, 100 - length)
        axis.set_ylim(start, start + 1.02 * length)


def ceiling(runs: "pd.DataFrame") -> str:
    """What bounds the numerical rank of those analyses, in words; nothing where all features are read."""
    limits = {int(count) for count in runs["analysis.max_features"].dropna()}
    return f"rank: of at most {' or '.join(f'{n:,}' for n in sorted(limits))} features a layer" if limits else ""


def mark_starts(axis: "Axes", runs: "pd.DataFrame", which: tuple[str, ...] = ("s95", "s98")) -> None:
    """Nothing; dotted lines where the first task's tunnel starts by the 95 % and by the 98 % rule."""
    words: dict[float, str] = {}
    for word in which:
        if f"swap_{word}" in runs and runs[f"swap_{word}"].notna().any():
            at = float(runs[f"swap_{word}"].median())
            words[at] = f"{words[at]}, {word}" if at in words else word
    for at, text in words.items():
        axis.axvline(at, color=style.MUTED, lw=0.7, ls=":")
        axis.text(at, 1.01, text, transform=axis.get_xaxis_transform(), ha="center", size=7, color=style.MUTED)


def whole_layers(axis: "Axes", count: int) -> None:
    """Nothing; the x axis runs over the layers, with whole numbers at its ticks."""
    from matplotlib.ticker import MaxNLocator

    axis.set_xlim(0.5, count + 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(9, integer=True, min_n_ticks=1))


OUT = "out of distribution: probes on classes that training did not have"


def footnote(figure: "Canvas", tables: Tables, spec: str, words: str = "", spread: str = "mean ± SD") -> None:
    """Nothing; data set, what is shown of how many seeds, and words below the figure."""
    runs = tables.where(spec=spec)
    seeds = runs.groupby(runs["case"].fillna(""))["seed"].nunique()
    many = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    parts = (", ".join(data_titles(runs)), f"{spread} over {many} seeds", words)
    style.footnote(figure, "; ".join(filter(None, parts)))
