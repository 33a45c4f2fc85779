"""Figures of SCoLe on what happens inside the network: probes of the frozen trunk, how far weights move, what is retained."""

import itertools
from typing import TYPE_CHECKING

import numpy as np

from common import style
from common.table import Tables
from papers.scole.curves import CASES, MASK_COLOURS, MASKS, cells, of_mask
from papers.scole.panels import fact_curve, footnote, level, task_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


LAGS = (0, 1, 2, 5, 10, 20, 50)


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
