"""The figures of SCoLe: pure functions from the stored tables to matplotlib figures.

Everywhere: accuracy is on all classes, each counted alike; x is the number of tasks done, on a logarithmic axis; bands and
error bars are one sample SD over seeds. What is read off a bitmap of the paper is marked as such.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from common import style
from common.drawings import Figure
from common.table import Tables
from papers.scole.curves import CASES, MASK_COLOURS, MASKS, cells, of_mask, over_tasks, references
from papers.scole.panels import fact_curve, footnote, level, line, per_class, task_axis
from papers.scole.reported import BALANCED, UNBALANCED
from papers.scole.tables import TABLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

__all__ = ["FIGURES", "TABLES"]

LAGS = (0, 1, 2, 5, 10, 20, 50)


def accumulation(tables: Tables) -> "Canvas":
    """A panel a mask, a line an optimiser (or data set); short lines at the right: all classes at once (figure of data sets)."""
    rows, points, known = tables.where(spec="accumulation"), tables.curves, references(tables)
    figure, axes = style.sheet(1, 2, style.PAGE, 2.4)
    for axis, (mask, own) in zip(axes[0], of_mask(rows), strict=False):
        for (case,), some in cells(own, "case").items():
            colour, dash = CASES.get(case, (style.MUTED, "-"))
            done, values = over_tasks(points, some)
            style.band(axis, done[done > 0], 100 * values[:, done > 0], colour, case, dash)
            if case in known:
                axis.plot(
                    [1.0, 1.03],
                    [100 * known[case]] * 2,
                    color=colour,
                    lw=1.5,
                    transform=axis.get_yaxis_transform(),
                    clip_on=False,
                )
        task_axis(axis, MASKS[mask])
    level(axes.flat)
    style.legend(figure, axes, 6)
    footnote(figure, tables, "accumulation", words="marks at the right edge: all classes at once")
    return figure


def by_mask(spec: str, setting: str, words: str, tables: Tables) -> "Canvas":
    """A panel a mask, a line a value of a setting."""
    rows, points = tables.where(spec=spec), tables.curves
    masks = of_mask(rows)
    figure, axes = style.sheet(1, len(masks), style.PAGE if len(masks) > 1 else style.COLUMN, 2.2)
    values_of = sorted(rows[setting].unique())
    for axis, (mask, own) in zip(axes[0], masks, strict=True):
        for value, colour in zip(values_of, style.graded(len(values_of)), strict=True):
            line(axis, points, own[own[setting] == value], colour, words.format(value))
        task_axis(axis, MASKS[mask])
    level(axes.flat)
    style.legend(figure, axes)
    footnote(figure, tables, spec)
    return figure


def cycle(tables: Tables) -> "Canvas":
    """Five disjoint tasks again and again; the shaded part is all that the usual benchmark sees (Fig. 1)."""
    rows, points = tables.where(spec="cycle"), tables.curves
    figure, axes = style.sheet(1, 1, style.COLUMN, 2.3)
    (axis,) = axes[0]
    for mask, own in of_mask(rows):
        line(axis, points, own, MASK_COLOURS[mask], MASKS[mask])
    axis.axvspan(1, 5, color=style.MUTED, alpha=0.15, lw=0)
    where = axis.get_xaxis_transform()
    axis.text(2.2, 0.98, "usual\nbenchmark", ha="center", va="top", size=7, color=style.MUTED, transform=where)
    task_axis(axis, "")
    level([axis])
    style.legend(figure, axes)
    footnote(figure, tables, "cycle")
    return figure


def balanced(tables: Tables) -> "Canvas":
    """Expected accuracy over that of all classes at once, against the frequency of a class k/C (figure of balanced worlds)."""
    rows, whole = tables.where(spec="balanced"), tables.where(spec="balanced_iid")
    known = whole.groupby("stream.classes")["late"].mean()
    figure, axes = style.sheet(1, 1, style.COLUMN, 2.6)
    (axis,) = axes[0]
    for mask, own in of_mask(rows):
        wide = own.pivot_table(index="seed", columns="stream.classes", values="expected")
        width = float(own["stream.classes_per_task"].iloc[0])
        x = width / wide.columns.to_numpy(dtype=float)
        style.bars(
            axis, x, wide.to_numpy() / known[wide.columns].to_numpy(), MASK_COLOURS[mask], f"ours, {MASKS[mask]}"
        )
        word = "group" if mask != "none" else "none"
        axis.plot(
            BALANCED["frequency"], BALANCED[word], "x:", color=MASK_COLOURS[mask], lw=0.8, label=f"paper, {MASKS[mask]}"
        )
    axis.set(
        xlabel="frequency of a class (classes per task / classes)",
        ylabel="expected accuracy, normalised",
    )
    axis.set_ylim(bottom=0)
    style.legend(figure, axes, 2)
    footnote(figure, tables, "balanced", words="crosses: from a bitmap")
    return figure


def unbalanced(tables: Tables) -> "Canvas":
    """A panel a mask, a mark a class and seed: expected accuracy against the probability of being in a task."""
    rows, facts = tables.where(spec="unbalanced_classes"), tables.facts
    masks = of_mask(rows)
    figure, axes = style.sheet(1, len(masks), style.PAGE if len(masks) > 1 else style.COLUMN, 2.3)
    for axis, (mask, own) in zip(axes[0], masks, strict=True):
        wide = per_class(facts, own)
        axis.plot(
            wide["q"],
            100 * wide["expected"],
            "o",
            color=MASK_COLOURS[mask],
            ms=3,
            alpha=0.6,
            mew=0,
            label="ours, a class",
        )
        baseline = wide.groupby("q")[["last task"]].mean().reset_index()
        axis.plot(
            baseline["q"],
            100 * baseline["last task"],
            "--",
            color=style.MUTED,
            lw=0.9,
            label="knows its last task alone",
        )
        axis.plot(10 ** np.array(UNBALANCED["log10 p"]), 100 * np.array(UNBALANCED["fit"]), ":", color="black", lw=0.9,
                  label="fit in the paper's figure (read off a bitmap; Tiny-ImageNet)")  # fmt: skip
        axis.set(xscale="log", xlabel="probability that the class is in a task", title=MASKS[mask])
    level(axes.flat, "expected accuracy (%)")
    style.legend(figure, axes, 3)
    footnote(figure, tables, "unbalanced_classes", spread="{} seeds, a mark a class and seed")
    return figure


def replay(tables: Tables) -> "Canvas":
    """Expected accuracy of each class with replay of rare classes, of random ones, and of none; the band is shaded."""
    rows, facts = tables.where(spec="replay_classes"), tables.facts
    figure, axes = style.sheet(1, 1, style.COLUMN, 2.4)
    (axis,) = axes[0]
    colours = {"none": style.MUTED, "frequency": "#d55e00", "random": "#0173b2"}
    for case, own in rows.groupby("case"):
        wide = per_class(facts, own)
        curves = wide.sort_values("q").assign(rank=wide.sort_values("q").groupby("run_id").cumcount())
        values = curves.pivot(index="run_id", columns="rank", values="expected").to_numpy()
        q = curves.groupby("rank")["q"].mean().to_numpy()
        shift = {"none": 0.96, "random": 1.0, "frequency": 1.04}[str(case)]  # marks of one class side by side
        style.bars(axis, shift * q, 100 * values, colours[str(case)], f"replay: {case}")
    axis.axvspan(0.01, 0.1, color=style.MUTED, alpha=0.15, lw=0)
    axis.set(xscale="log", xlabel="probability that the class is in a task")
    level([axis], "expected accuracy (%)")
    style.legend(figure, axes, 3)
    footnote(figure, tables, "replay_classes", words="all with mask; shaded: the band that is replayed")
    return figure


def forgetting(tables: Tables) -> "Canvas":
    """A panel a mask: the classes that come again and those that never do after half of the tasks."""
    rows, points = tables.where(spec="forgetting"), tables.curves
    masks = of_mask(rows)
    figure, axes = style.sheet(1, len(masks), style.PAGE, 2.2)
    for axis, (mask, own) in zip(axes[0], masks, strict=True):
        classes = int(points[points["run_id"].isin(list(own["run_id"]))]["task"].max()) + 1
        for parts, colour, label in (
            (slice(0, classes // 2), "#0173b2", "classes that come again"),
            (slice(classes // 2, classes), "#d55e00", "classes that do not"),
        ):
            done, values = over_tasks(points, own, parts)
            style.band(axis, done, 100 * values, colour, label)
        axis.axvline(float(own["stream.tasks"].iloc[0]) / 2, color=style.MUTED, lw=0.6)
        axis.set(xlabel="tasks done", title=MASKS[mask])
    level(axes.flat)
    style.legend(figure, axes)
    footnote(figure, tables, "forgetting")
    return figure


def retention(tables: Tables) -> "Canvas":
    """Accuracy of a class against the tasks since it was last trained, second half of the stream; a line an optimiser."""
    rows = tables.where(spec="accumulation")
    figure, axes = style.sheet(1, 2, style.PAGE, 2.2)
    for axis, (mask, own) in zip(axes[0], of_mask(rows), strict=False):
        for (case,), some in cells(own, "case").items():
            colour, dash = CASES.get(case, (style.MUTED, "-"))
            lags = [lag for lag in LAGS if f"retained_{lag}" in some and some[f"retained_{lag}"].notna().all()]
            if lags:
                values = some[[f"retained_{lag}" for lag in lags]].to_numpy(dtype=float)
                style.bars(axis, np.array(lags), 100 * values, colour, case, dash)
        axis.set_xscale("symlog", linthresh=1)
        axis.set_xticks(lags, [str(lag) for lag in lags])
        axis.set(xlabel="tasks since the class was last trained", title=MASKS[mask])
    level(axes.flat)
    style.legend(figure, axes, 6)
    footnote(figure, tables, "accumulation")
    return figure


def probes(tables: Tables) -> "Canvas":
    """The network on all classes, and a linear probe on its frozen trunk, over tasks: do head or features accumulate?"""
    rows, facts = tables.where(spec="frozen_probes"), tables.facts
    masks = of_mask(rows)
    figure, axes = style.sheet(1, len(masks), style.PAGE, 2.2)
    for axis, (mask, own) in zip(axes[0], masks, strict=True):
        for quantity, label, how in (("probe", "linear probe of the trunk", "--"), ("accuracy", "the network", "-")):
            after, values = fact_curve(facts, own, quantity)
            style.band(
                axis, np.maximum(after, 0.5), 100 * values, MASK_COLOURS[mask], label if mask == "none" else "", how
            )
        task_axis(axis, MASKS[mask])
        axis.set_xticks([0.5, 1, 10, 100], ["0", "1", "10", "100"])
    level(axes.flat)
    style.legend(figure, axes)
    footnote(figure, tables, "frozen_probes")
    return figure


def weights(tables: Tables) -> "Canvas":
    """How far weights moved since the network kept before (first layer and head, RMS), and the norm of the gradient, over tasks."""
    rows, facts, scalars = tables.where(spec="frozen_probes"), tables.facts, tables.scalars
    figure, axes = style.sheet(1, 2, style.PAGE, 2.2)
    for mask, own in of_mask(rows):
        moved = facts[facts["run_id"].isin(list(own["run_id"])) & (facts["quantity"] == "weight change")]
        layers = moved["layer"].unique()
        for layer, word, how in ((layers[0], "first layer", "-"), (layers[-1], "head", "--")):
            wide = moved[moved["layer"] == layer].pivot_table(
                index="run_id", columns="after", values="value", observed=True
            )
            after = wide.columns.to_numpy(dtype=float)
            style.band(axes[0, 0], after, wide.to_numpy(), MASK_COLOURS[mask], f"{word}, {MASKS[mask]}", how, True)
        runs = tables.where(spec="frozen")
        runs = runs[runs["learner.mask"] == mask]
        wide = scalars[scalars["run_id"].isin(list(runs["run_id"]))].assign(run_id=lambda t: t["run_id"].astype(str))
        norms = wide.pivot(index="run_id", columns="update", values="grad_plasticity").to_numpy()
        edges = np.unique(np.geomspace(1, norms.shape[1], 30).astype(int))
        binned = np.stack([np.nanmean(norms[:, a:b], axis=1) for a, b in itertools.pairwise(edges)], axis=1)
        style.band(axes[0, 1], edges[1:], binned, MASK_COLOURS[mask], extremes=True)
    axes[0, 0].set(
        xscale="log", yscale="log", xlabel="tasks done", ylabel="RMS weight change since\nthe network kept before"
    )
    axes[0, 1].set(xscale="log", yscale="log", xlabel="updates made", ylabel="gradient norm")
    style.legend(figure, axes, 4)
    footnote(
        figure,
        tables,
        "frozen_probes",
        spread="mean, lowest and highest of {} seeds",
        words="networks were kept after log-spaced numbers of tasks and after the last",
    )
    return figure


STUDIES: dict[str, tuple[str, str, Callable[[Any], str]]] = {
    "epochs": ("epochs", "budget.epochs", lambda value: f"{value:g} a task"),
    "fresh": (
        "state of Adam",
        "optimiser.fresh",
        lambda value: "begun anew with each task" if value else "kept over tasks",
    ),
    "width": ("width", "model.hidden", lambda value: f"{str(value).strip('[]')} hidden units"),
    "corruption": (
        "corruption of training images",
        "stream.corruption",
        lambda value: "one a task" if value != "none" else "none",
    ),
    "architectures": ("network", "case", str),
}


def studies(tables: Tables) -> "Canvas":
    """A panel a study: accuracy over tasks for each value of what it varies; dotted: with the mask."""
    names = [name for name in STUDIES if (tables.runs["spec"] == name).any()]
    points = tables.curves
    figure, axes = style.sheet(-(-len(names) // 2), 2, style.PAGE, 2.0)
    for axis, name in zip(axes.flat, names, strict=False):
        rows, (title, setting, words) = tables.where(spec=name), STUDIES[name]
        if name == "width" and rows[setting].isna().all():
            setting, words = "model.width", lambda value: f"width {value:g}"
        keys = sorted(cells(rows, setting), key=lambda key: (len(str(key[0])), str(key[0])))
        for key, colour in zip(keys, style.graded(len(keys)), strict=True):
            own = rows[rows[setting] == key[0]]
            for place, (mask, some) in enumerate(of_mask(own)):
                line(axis, points, some, colour, "" if place else words(key[0]), "-" if mask == "none" else ":")
        task_axis(axis, title)
        axis.legend(loc="upper left")
    level(axes.flat[: len(names)])
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    footnote(figure, tables, *names, words="dotted: with mask")
    return figure


ABOUT: dict[str, tuple[Callable[[Tables], "Canvas"], tuple[str, ...], str]] = {
    "accumulation": (
        accumulation,
        ("accumulation", "iid"),
        "Knowledge accumulates: accuracy on all classes over tasks, by mask and optimiser (figure of data sets).",
    ),
    "cycle": (cycle, ("cycle",), "Five disjoint tasks, once and again and again (Fig. 1)."),
    "balanced": (
        balanced,
        ("balanced", "balanced_iid"),
        "Accuracy against the frequency of classes in balanced worlds (figure of balanced worlds).",
    ),
    "unbalanced": (
        unbalanced,
        ("unbalanced_classes",),
        "Accuracy of a class against its probability in an unbalanced world (figure of unbalanced worlds).",
    ),
    "classes_per_task": (
        partial(by_mask, "classes_per_task", "stream.classes_per_task", "{:g} classes a task"),
        ("classes_per_task",),
        "Two, three and five classes a task.",
    ),
    "forgetting": (forgetting, ("forgetting",), "Half of the classes never come again."),
    "pairs": (
        partial(by_mask, "pairs", "stream.combinations", "{:.0%} of all pairs"),
        ("pairs",),
        "Must classes meet in a task to be told apart?",
    ),
    "retention": (retention, ("accumulation",), "Accuracy of a class by the time since it was last trained."),
    "replay": (replay, ("replay_classes",), "Replay of classes inside a band of frequencies."),
    "probes": (probes, ("frozen_probes",), "Head or features: a linear probe on the frozen trunk over time."),
    "weights": (weights, ("frozen", "frozen_probes"), "How far weights move, and the norm of the gradient."),
    "studies": (
        studies,
        ("epochs", "fresh", "width", "corruption", "architectures"),
        "Epochs, optimiser state, width, corruptions, networks.",
    ),
}
FIGURES = {name: Figure(make, needs, about) for name, (make, needs, about) in ABOUT.items()}
