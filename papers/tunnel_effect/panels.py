"""What the figures of the tunnel effect share: runs by case, curves over layers, axes that count layers, the shaded tunnel."""

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


def footnote(figure: "Canvas", tables: Tables, spec: str) -> None:
    """Nothing; data set and number of seeds below the figure."""
    runs = tables.where(spec=spec)
    seeds = runs.groupby(runs["case"].fillna(""))["seed"].nunique()
    many = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    style.footnote(figure, f"{', '.join(data_titles(runs))}; {many} seeds")
