"""The figures of the stability gap: pure functions from the stored tables to matplotlib figures.

Everywhere: thin vertical lines are task switches, bands and error bars one sample SD over seeds.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from common import style
from common.drawings import Figure, data_titles
from common.errors import Problem
from common.stats import pearson
from common.table import Tables
from papers.stability_gap.curves import Curves, curves_of, in_order, norms_after_switches
from papers.stability_gap.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

__all__ = ["FIGURES", "TABLES"]

METHODS = tuple(style.COLOURS)
AFTER = 50  # updates shown after a switch
RHOS = {"every iteration": "", "every 10": "@10", "every 100": "@100", "task ends only": "@boundaries"}
RHO_STYLES = (("#949494", "-", 1.0), ("#0173b2", ".-", 0.8), ("#029e73", "s-", 0.9), ("#d55e00", "D--", 1.0))
METRICS = (
    ("acc", "ACC", "#000000"), ("min_acc", "min-ACC", "#0173b2"), ("wc_acc", "WC-ACC", "#56b4e9"),
    ("wf10", "WF10", "#d55e00"), ("forg", "FORG", "#de8f05"),
)  # fmt: skip


def streams(spec: str, tables: Tables) -> "Canvas":
    """One row a case: every task over the whole stream, and the old tasks right after each switch (Fig. 1 and 2)."""
    cases, points = in_order(tables, spec), tables.curves
    figure, axes = style.sheet(len(cases), 2, style.PAGE, 1.9, ratios=(2, 1))
    for (whole, close), (case, rows) in zip(axes, cases.items(), strict=True):
        curves = curves_of(points, rows)
        shown = _shown(curves.tasks)
        for task, colour in zip(shown, style.graded(len(shown)), strict=True):
            step, values = curves.seen(task)
            style.band(whole, step, values, colour, f"task {task + 1}")
            ends = np.isin(step, curves.ends)
            whole.plot(step[ends], values.mean(axis=0)[ends], "D", color=colour, mec="white", mew=0.4, clip_on=False)
            if task > 0:
                style.band(close, *curves.around(task - 1, list(range(task)), 10, AFTER), colour)
        _stream_axis(whole, curves, case, rows)
        _switch_axes([close], "zoom: mean of the old tasks")
    style.legend(figure, axes)
    _footnote(
        figure,
        tables,
        spec,
        "diamonds: task ends, all that standard evaluation sees; right: colour of the new task",
        True,
    )
    return figure


def methods(spec: str, tables: Tables) -> "Canvas":
    """A panel a method: accuracy of the first and second task, with ER behind (Fig. 4 and 5)."""
    cases, points = in_order(tables, spec, METHODS), tables.curves
    figure, axes = style.sheet(-(-len(cases) // 4), 4, style.PAGE, 1.6, shared=True)
    replay = curves_of(points, cases["ER"]) if "ER" in cases else None
    for axis, (case, rows) in zip(axes.flat, cases.items(), strict=False):
        curves, colour = curves_of(points, rows), style.COLOURS.get(case, style.MUTED)
        if replay is not None and case != "ER":
            step, values = replay.seen(0)
            axis.plot(step, values.mean(axis=0), color=style.COLOURS["ER"], lw=0.6, alpha=0.7)
        style.band(axis, *curves.seen(0), colour)
        style.band(axis, *curves.seen(1), colour, line=":")
        _switches(axis, curves)
        acc, worst = (100 * rows[metric].mean() for metric in ("acc", "wc_acc"))
        axis.set_title(f"{case}\nACC {acc:.0f} %, WC-ACC {worst:.0f} %", color=colour)
        style.percent(axis, "accuracy (%)" if axis in axes[:, 0] else "")
    for axis in axes[-1]:
        axis.set_xlabel("iteration")
    for axis in axes.flat[len(cases) :]:
        axis.set_visible(False)
    _footnote(figure, tables, spec, "solid: task 1, dotted: task 2, thin blue: task 1 with ER")
    return figure


def rotation(tables: Tables) -> "Canvas":
    """Accuracy on the first task under each angle, and the metrics against the angle (Fig. 3, Table 2)."""
    rows, points = tables.where(spec="rotation"), tables.curves
    angles = sorted(rows["stream.degrees"].unique())
    figure, axes = style.sheet(1, 2, style.PAGE, 2.4, ratios=(1.5, 1))
    left, right = axes[0]
    for angle, colour in zip(angles, style.graded(len(angles)), strict=True):
        curves = curves_of(points, rows[rows["stream.degrees"] == angle])
        style.band(left, *curves.seen(0), colour, f"{angle:g}°")
    _stream_axis(left, curves, "task 1", rows)
    for metric, label, colour in METRICS:
        style.bars(right, angles, _by_seed(rows, "stream.degrees", metric), colour, label)
    right.set_xticks(angles)
    right.set_xlabel("rotation between tasks (degrees)")
    style.percent(right, "metric at the end (%)")
    style.legend(figure, left, place="left", title="rotation")
    style.legend(figure, right, place="right")
    _footnote(figure, tables, "rotation", named=True)
    return figure


def evaluation_period(tables: Tables) -> "Canvas":
    """One row a case: task 1 as measured at each evaluation period; min-ACC and WC-ACC against it (Tables 1 and 3)."""
    cases, points = in_order(tables, "er"), tables.curves
    figure, axes = style.sheet(len(cases), 2, style.PAGE, 2.0, ratios=(1.8, 1))
    for (left, right), (case, rows) in zip(axes, cases.items(), strict=True):
        curves = curves_of(points, rows)
        step, values = curves.seen(0)
        mean = values.mean(axis=0)
        for (words, at), (colour, line, width) in zip(RHOS.items(), RHO_STYLES, strict=True):
            kept = np.isin(step, curves.ends) | (step % int(at[1:] or 1) == 0 if at[1:] != "boundaries" else False)
            left.plot(step[kept], mean[kept], line, color=colour, label=words, ms=3, lw=width)
        _stream_axis(left, curves, f"{case}, task 1", rows)
        _metrics(right, rows, lambda rows, metric: rows[[metric + at for at in RHOS.values()]])
        right.set_xticks(range(4), ["1", "10", "100", "ends"])
        right.set_xlabel("iterations between evaluations")
    style.legend(figure, axes[0, 0], place="left", title="evaluated")
    style.legend(figure, axes[0, 1], place="right")
    _footnote(figure, tables, "er", named=True)
    return figure


def gradients(tables: Tables) -> "Canvas":
    """A column a method: the ended task's accuracy above the two gradient norms after the switch (Fig. 4 and 5)."""
    cases, points, scalars = in_order(tables, "gradients", METHODS), tables.curves, tables.scalars
    figure, axes = style.sheet(2, len(cases), style.PAGE, 1.6, shared=True)
    for (above, below), (case, rows) in zip(axes.T, cases.items(), strict=True):
        curves = curves_of(points, rows)
        style.band(above, *curves.around_all(0, AFTER, only_last=True), style.COLOURS.get(case, style.MUTED))
        norms = norms_after_switches(scalars, rows, curves.ends, AFTER)
        x = np.arange(norms["plasticity"].shape[1])
        style.band(below, x, norms["plasticity"], style.PLASTICITY, "plasticity gradient (new task)", "--")
        style.band(below, x, norms["stability"], style.STABILITY, "stability gradient (old tasks)")
        above.set_title(case)
        style.percent(above, "task just ended (%)" if above is axes[0, 0] else "")
        below.set_yscale("symlog", linthresh=0.01)
        below.set_xlabel("iterations after switch")
    axes[1, 0].set_ylabel("gradient norm")
    axes[1, 0].set_ylim(bottom=0)
    style.legend(figure, axes)
    _footnote(figure, tables, "gradients", "mean over all switches; norms: linear below 0.01, logarithmic above")
    return figure


def forgetting_against_gap(tables: Tables) -> "Canvas":
    """FORG against WF10 over ER's hyper-parameters, one mark a run, with Pearson's r in each seed (Fig. 9)."""
    rows = tables.where(spec="select_class", case="ER").dropna(subset=["forg", "wf10"])
    if rows.empty:
        raise Problem("no finished runs of ER in select_class")
    figure, axes = style.sheet(1, 1, style.COLUMN, 2.6)
    (axis,) = axes[0]
    rates, alphas = (sorted(rows[c].unique()) for c in ("optimiser.lr", "learner.alpha"))
    for rate, colour in zip(rates, style.graded(len(rates)), strict=True):
        for alpha, mark in zip(alphas, "osD^v", strict=False):
            own = rows[(rows["optimiser.lr"] == rate) & (rows["learner.alpha"] == alpha)]
            label = f"lr {rate:g}" if alpha == alphas[0] else ""
            axis.plot(100 * own["forg"], 100 * own["wf10"], mark, color=colour, label=label, mec="white", mew=0.4, ms=5)
    for alpha, mark in zip(alphas, "osD^v", strict=False):
        axis.plot([], [], mark, color=style.MUTED, label=f"α {alpha:g}")
    r = [f"{pearson(own['forg'].to_numpy(), own['wf10'].to_numpy()):+.2f}" for _, own in rows.groupby("seed")]
    axis.set_title(f"Pearson r in each seed: {', '.join(r)}")
    axis.set_xlabel("FORG (percentage points)")
    axis.set_ylabel("WF10 (percentage points)")
    style.legend(figure, axes, 3)
    style.footnote(figure, f"{', '.join(data_titles(rows))}; one mark a run of ER")
    return figure


def memory(tables: Tables) -> "Canvas":
    """Old tasks around the switches for each memory size, and the metrics against the size (App. D.2)."""
    rows, points = tables.where(spec="memory"), tables.curves
    rows = rows.assign(**{"learner.memory": rows["learner.memory"].fillna(np.inf)})  # empty: every sample
    sizes = sorted(rows["learner.memory"].unique())
    names = ["all" if np.isinf(size) else f"{size:,.0f}" for size in sizes]
    figure, axes = style.sheet(1, 2, style.PAGE, 2.3, ratios=(1.3, 1))
    left, right = axes[0]
    for size, name, colour in zip(sizes, names, style.graded(len(sizes)), strict=True):
        style.band(left, *curves_of(points, rows[rows["learner.memory"] == size]).around_all(10, 100), colour, name)
    _switch_axes([left], "mean of the old tasks, all switches")
    _metrics(right, rows, lambda rows, metric: rows.pivot_table(index="seed", columns="learner.memory", values=metric))
    right.set_xticks(range(len(sizes)), names)
    right.set_xlabel("samples in memory")
    style.legend(figure, left, place="left", title="memory")
    style.legend(figure, right, place="right")
    _footnote(figure, tables, "memory")
    return figure


def momentum(tables: Tables) -> "Canvas":
    """ER and joint training around the switches, with and without momentum (follow-ups)."""
    return _around_switches(tables, "momentum", "case", "optimiser.momentum", "momentum {:g}")


def normalisation(tables: Tables) -> "Canvas":
    """ER around the switches with BatchNorm and with GroupNorm."""
    return _around_switches(tables, "batchnorm", "spec", "case", "{}")


def _around_switches(tables: Tables, spec: str, panels: str, lines: str, words: str) -> "Canvas":
    """A panel a value of column `panels`, a line a value of column `lines`: mean of the old tasks at all switches."""
    rows, points = tables.where(spec=spec), tables.curves
    names, values = sorted(rows[panels].unique()), sorted(rows[lines].unique())
    figure, axes = style.sheet(1, len(names), style.PAGE if len(names) > 1 else style.COLUMN, 2.2)
    for axis, name in zip(axes[0], names, strict=True):
        for value, colour, line in zip(values, (style.PLASTICITY, style.STABILITY), ("--", "-"), strict=False):
            own = rows[(rows[panels] == name) & (rows[lines] == value)]
            if len(own):
                style.band(axis, *curves_of(points, own).around_all(10, 100), colour, words.format(value), line)
        axis.set_title(name if len(names) > 1 else "")
    _switch_axes(list(axes[0]))
    for axis in axes[0]:
        axis.set_ylabel("mean of the old tasks (%)")
    style.legend(figure, axes)
    _footnote(figure, tables, spec)
    return figure


def _shown(tasks: int) -> list[int]:
    """The tasks that are drawn: all of up to six, else five spread over the stream."""
    return list(range(tasks)) if tasks <= 6 else [0, *(round(tasks * share) for share in (0.2, 0.4, 0.6, 0.8))]


def _by_seed(rows: "pd.DataFrame", axis: str, metric: str) -> Any:
    """Percent [seeds, values of the axis in order]; seeds without every value are left out."""
    return 100 * rows.pivot_table(index="seed", columns=axis, values=metric).dropna().to_numpy()


def _metrics(axis: "Axes", rows: "pd.DataFrame", values: "Callable[[pd.DataFrame, str], pd.DataFrame]") -> None:
    """ACC, min-ACC and WC-ACC at places 0, 1, ...; values: rows and metric -> a line a seed, a column a place."""
    for shift, (metric, label, colour) in zip((0, -0.04, 0.04), METRICS[:3], strict=True):
        found = 100 * values(rows, metric).dropna().to_numpy()
        style.bars(axis, np.arange(found.shape[1]) + shift, found, colour, label)
    style.percent(axis, "metric at the end (%)")


def _switches(axis: "Axes", curves: Curves) -> None:
    for end in curves.ends[:-1]:
        axis.axvline(end, color=style.MUTED, lw=0.5, alpha=0.6, zorder=0)


def _stream_axis(axis: "Axes", curves: Curves, title: str, rows: "pd.DataFrame") -> None:
    _switches(axis, curves)
    style.percent(axis)
    axis.set_xlim(0, curves.step[-1])
    axis.set_xlabel("iteration")
    axis.set_title(": ".join(word for word in (title, ", ".join(data_titles(rows))) if word), loc="left")


def _switch_axes(axes: "list[Axes]", title: str = "") -> None:
    """Axes of updates since a switch, all with one y range: from the multiple of 25 below what is drawn."""
    lowest = min(float(axis.dataLim.y0) for axis in axes)
    for axis in axes:
        axis.axvline(0, color=style.MUTED, lw=0.5, alpha=0.6, zorder=0)
        axis.set_xlabel("iterations after the switch")
        style.percent(axis, low=25 * int(max(0.0, min(lowest, 99.0)) // 25))
        if title:
            axis.set_title(title)


def _footnote(figure: "Canvas", tables: Tables, spec: str, words: str = "", named: bool = False) -> None:
    """Data sets (unless `named` in the titles already), seeds, and words."""
    rows = tables.where(spec=spec)
    seeds = int(rows["seed"].nunique())
    spread = f"mean ± SD over {seeds} seeds" if seeds > 1 else "one seed"
    parts = [] if named else data_titles(rows)
    style.footnote(figure, "; ".join(part for part in (*parts, spread, words) if part))


CI, DI = "class-incremental", "domain-incremental"
Maker = Callable[[Tables], "Canvas"]
FIGURES: dict[str, Figure] = {
    "er": Figure(
        partial(streams, "er"), ("er",), "ER on every task, evaluated after every update (paper Fig. 1 and 2)."
    ),
    "evaluation_period": Figure(
        evaluation_period, ("er",), "What sparser evaluation sees (paper Fig. 2, Tables 1 and 3)."
    ),
    "methods_class": Figure(
        partial(methods, "methods_class"), ("methods_class",), f"Methods side by side, {CI} (paper Fig. 4 and beyond)."
    ),
    "methods_domain": Figure(
        partial(methods, "methods_domain"),
        ("methods_domain",),
        f"Methods side by side, {DI} (paper Fig. 5 and beyond).",
    ),
    "rotation": Figure(
        rotation, ("rotation",), "ER under four angles between successive tasks (paper Fig. 3, Table 2)."
    ),
    "gradients": Figure(
        gradients, ("gradients",), "Stability and plasticity gradients after a switch (paper Fig. 4 and 5)."
    ),
    "forgetting_against_gap": Figure(
        forgetting_against_gap, ("select_class",), "FORG against WF10 over ER's hyper-parameters (paper Fig. 9)."
    ),
    "memory": Figure(memory, ("memory",), "ER with memories from small to every sample (paper App. D.2)."),
    "momentum": Figure(momentum, ("momentum",), "Momentum, with replay and with joint training (follow-up work)."),
    "normalisation": Figure(normalisation, ("batchnorm",), "BatchNorm against GroupNorm (a control the paper lacks)."),
    "online": Figure(partial(streams, "online"), ("online",), "ER in a single pass (paper App. D.1)."),
    "task_incremental": Figure(
        partial(streams, "task_incremental"), ("task_incremental",), "ER told the task at test (paper App. D.3)."
    ),
}
