"""Figures of SCoLe on worlds that are no pairs of ten equal classes: balanced, unbalanced, replayed, with classes that stop."""

from typing import TYPE_CHECKING

import numpy as np

from common import style
from common.table import Tables
from papers.scole.curves import MASK_COLOURS, MASKS, of_mask, over_tasks
from papers.scole.panels import footnote, level, per_class
from papers.scole.reported import BALANCED, UNBALANCED

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


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
