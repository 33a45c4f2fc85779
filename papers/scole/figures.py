"""The figures of SCoLe: pure functions from the stored tables to matplotlib figures.

Everywhere: accuracy is on all classes, each counted alike; x is the number of tasks done, on a logarithmic axis; bands and
error bars are one sample SD over seeds. What is read off a bitmap of the paper is marked as such.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from common import style
from common.drawings import Figure
from common.table import Tables
from papers.scole.curves import CASES, MASK_COLOURS, MASKS, cells, of_mask, over_tasks, references
from papers.scole.inside import probes, retention, weights
from papers.scole.panels import footnote, level, line, task_axis
from papers.scole.tables import TABLES
from papers.scole.worlds import balanced, forgetting, replay, unbalanced

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

__all__ = ["FIGURES", "TABLES"]


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
