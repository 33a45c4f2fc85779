"""The figures of the stability gap: pure functions from the stored tables to matplotlib figures.

Everywhere: thin vertical lines are task switches, bands and error bars one sample SD over seeds.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from common import style
from common.drawings import Figure, data_titles
from common.errors import Problem
from common.stats import pearson
from common.table import Tables
from papers.stability_gap.curves import curves_of, in_order, norms_after_switches
from papers.stability_gap.panels import (
    METRICS,
    footnote,
    mark_switches,
    metrics_at,
    shown_tasks,
    stream_axis,
    switch_axes,
)  # fmt: skip
from papers.stability_gap.tables import TABLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

__all__ = ["FIGURES", "TABLES"]

METHODS = tuple(style.COLOURS)
AFTER = 50  # updates shown after a switch
RHOS = {"every iteration": "", "every 10": "@10", "every 100": "@100", "task ends only": "@boundaries"}
RHO_STYLES = (("#949494", "-", 1.0), ("#0173b2", ".-", 0.8), ("#029e73", "s-", 0.9), ("#d55e00", "D--", 1.0))


def streams(spec: str, tables: Tables) -> "Canvas":
    """One row a case: every task over the whole stream, and the old tasks right after each switch (Fig. 1 and 2)."""
    cases, points = in_order(tables, spec), tables.curves
    figure, axes = style.sheet(len(cases), 2, style.PAGE, 1.9, ratios=(2, 1))
    for (whole, close), (case, rows) in zip(axes, cases.items(), strict=True):
        curves = curves_of(points, rows)
        shown = shown_tasks(curves.tasks)
        for task, colour in zip(shown, style.graded(len(shown)), strict=True):
            step, values = curves.seen(task)
            style.band(whole, step, values, colour)
            ends = np.isin(step, curves.ends)
            whole.plot(step[ends], values.mean(axis=0)[ends], "D", color=colour, mec="white", mew=0.4, clip_on=False)
            middle = (curves.ends[task] + (curves.ends[task - 1] if task else 0)) / 2
            above = whole.get_xaxis_transform()
            whole.text(middle, 1.02, f"task {task + 1}", transform=above, ha="center", color=colour, size=7)
            if task > 0:
                style.band(close, *curves.around(task - 1, list(range(task)), 10, AFTER), colour)
        stream_axis(whole, curves, case, rows)
        whole.set_title(whole.get_title(loc="left"), loc="left", pad=12)  # room for the names of the tasks
        switch_axes([close], "zoom: mean of the old tasks")
    footnote(
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
        mark_switches(axis, curves)
        acc, worst = (100 * rows[metric].mean() for metric in ("acc", "wc_acc"))
        axis.set_title(f"{case}\nACC {acc:.0f} %, WC-ACC {worst:.0f} %", color=colour)
    for axis in axes.flat:
        style.percent(axis, "accuracy (%)" if axis in axes[:, 0] else "", high=style.span(*axes.flat[: len(cases)])[1])
    for axis in axes[-1]:
        axis.set_xlabel("iteration")
    for axis in axes.flat[len(cases) :]:
        axis.set_visible(False)
    footnote(figure, tables, spec, "solid: task 1, dotted: task 2, thin blue: task 1 with ER")
    return figure


def rotation(tables: Tables) -> "Canvas":
    """Task 1 from the first switch on under each angle, and the metrics against the angle (Fig. 3, Table 2)."""
    rows, points = tables.where(spec="rotation"), tables.curves
    angles = sorted(rows["stream.degrees"].unique())
    figure, axes = style.sheet(1, 3, style.PAGE, 2.3, ratios=(1.7, 1, 1))
    for angle, colour in zip(angles, style.graded(len(angles)), strict=True):
        curves = curves_of(points, rows[rows["stream.degrees"] == angle])
        step, values = curves.seen(0)
        late = step >= curves.ends[0] - 30
        style.band(axes[0, 0], step[late], values[:, late], colour, f"{angle:g}°")
    for axis, metrics in ((axes[0, 1], METRICS[:3]), (axes[0, 2], METRICS[3:])):
        for metric, label, colour in metrics:
            by_angle = rows.pivot_table(index="seed", columns="stream.degrees", values=metric).dropna()
            style.bars(axis, angles, 100 * by_angle.to_numpy(), colour, label)
        axis.set_xticks(angles)
        axis.set_xlabel("rotation (degrees)")
    for axis, label in ((axes[0, 0], "accuracy (%)"), (axes[0, 1], "metric at the end (%)")):
        style.percent(axis, label, *style.span(axis))
    axes[0, 2].set_ylabel("percentage points")
    mark_switches(axes[0, 0], curves)
    axes[0, 0].set_xlabel("iteration")
    axes[0, 0].set_title("task 1: " + ", ".join(data_titles(rows)), loc="left")
    style.legend(figure, axes[0, 0], place="left", title="rotation")
    style.legend(figure, axes[0, 1:], place="right")
    footnote(figure, tables, "rotation", named=True)
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
        stream_axis(left, curves, f"{case}, task 1", rows)
        metrics_at(right, rows, lambda rows, metric: rows[[metric + at for at in RHOS.values()]])
        right.set_xticks(range(4), ["1", "10", "100", "ends"])
        right.set_xlabel("iterations between evaluations")
    style.legend(figure, axes[0, 0], place="left", title="evaluated")
    style.legend(figure, axes[0, 1], place="right")
    footnote(figure, tables, "er", named=True)
    return figure


def gradients(tables: Tables) -> "Canvas":
    """A column a method: the ended task's accuracy above the two gradient norms after the switch (Fig. 4 and 5)."""
    cases, points, scalars = in_order(tables, "gradients", METHODS), tables.curves, tables.scalars
    figure, axes = style.sheet(2, len(cases), style.PAGE, 1.6, shared=True)
    for (above, below), (case, rows) in zip(axes.T, cases.items(), strict=True):
        curves = curves_of(points, rows)
        colour = style.COLOURS.get(case.removesuffix("-selected"), style.MUTED)
        style.band(above, *curves.around_all(0, AFTER, only_last=True), colour)
        norms = norms_after_switches(scalars, rows, curves.ends, AFTER)
        x = np.arange(norms["plasticity"].shape[1])
        style.band(below, x, norms["plasticity"], style.PLASTICITY, "plasticity gradient (new task)", "--", True)
        style.band(below, x, norms["stability"], style.STABILITY, "stability gradient (old tasks)", extremes=True)
        above.set_title(case)
        style.percent(above, "task just ended (%)" if above is axes[0, 0] else "")
        below.set_yscale("symlog", linthresh=0.01)
        below.set_xlabel("iterations after switch")
    axes[1, 0].set_ylabel("gradient norm")
    axes[1, 0].set_ylim(bottom=0)
    style.legend(figure, axes)
    footnote(
        figure,
        tables,
        "gradients",
        "mean over all switches; norms: linear below 0.01, logarithmic above, bands: lowest to highest seed",
    )
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
    switch_axes([left], "mean of the old tasks, all switches")
    metrics_at(
        right, rows, lambda rows, metric: rows.pivot_table(index="seed", columns="learner.memory", values=metric)
    )
    right.set_xticks(range(len(sizes)), names)
    right.set_xlabel("samples in memory")
    style.legend(figure, left, place="left", title="memory")
    style.legend(figure, right, place="right")
    footnote(figure, tables, "memory")
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
    switch_axes(list(axes[0]))
    for axis in axes[0]:
        axis.set_ylabel("mean of the old tasks (%)")
    style.legend(figure, axes)
    footnote(figure, tables, spec)
    return figure


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
