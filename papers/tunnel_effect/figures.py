"""The figures of the tunnel effect: pure functions from the stored tables to matplotlib figures.

Everywhere: x is the layer, numbered from 1 at the input; bands are one sample SD over seeds; the shaded part is the
tunnel by the 95 % rule (from the median over seeds of s95 on, layer s95 being the last of the extractor).
"""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from common import style
from common.drawings import Figure
from common.table import Tables
from papers.tunnel_effect.panels import (
    OUT,
    cases_of,
    ceiling,
    curves,
    facts_of,
    footnote,
    layer_axis,
    level,
    mark_starts,
    whole_layers,
)
from papers.tunnel_effect.tables import TABLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

__all__ = ["FIGURES", "TABLES"]

INSIDE, OUTSIDE, RANK = "#0173b2", "#de8f05", "#d55e00"
EXCHANGES = {
    "E1+T1": ("#000000", "-"), "E1+T2": ("#0173b2", "-"), "E2+T2": ("#949494", "-"), "E2+T1": ("#029e73", "-"),
    "E2+T1, new head": ("#029e73", "--"), "probe of E2": ("#d55e00", "--"),
}  # fmt: skip


def layers(spec: str, untrained: str | None, tables: Tables) -> "Canvas":
    """A panel a case: probe accuracy in and out of distribution, and rank (Figs. 1, 2 and 7).

    untrained: the spec of the same layers before the first update, whose rank is drawn beside.
    """
    cases = cases_of(tables, spec)
    before = tables.where(spec=untrained)
    control = None if before.empty else facts_of(tables, before)
    figure, axes = style.sheet(len(cases), 1, style.COLUMN, 2.0)
    for axis, (case, runs) in zip(axes[:, 0], cases.items(), strict=True):
        facts = facts_of(tables, runs)
        for quantity, colour, label in (
            ("ID accuracy", INSIDE, "in distribution"),
            ("OOD accuracy", OUTSIDE, "out of distribution"),
        ):
            values = curves(facts, quantity)
            style.band(axis, np.arange(1, values.shape[1] + 1), 100 * values, colour, label)
        right = axis.twinx()
        ranks = curves(facts, "rank")
        style.band(right, np.arange(1, ranks.shape[1] + 1), ranks, RANK, "rank (right)", "--")
        right.set_ylabel("numerical rank", color=RANK)
        right.spines["right"].set_visible(True)
        if control is not None:
            start = curves(control, "rank")
            style.band(right, np.arange(1, start.shape[1] + 1), start, RANK, "rank, untrained (right)", ":")
        right.set_ylim(0, None)
        layer_axis(axis, ranks.shape[1], runs)
        axis.set_ylabel("probe accuracy (%)")
        axis.set_title(case, loc="left")
    level(axes[:, 0])
    style.legend(figure, [*axes[:, 0], *(a for a in figure.axes if a not in set(axes[:, 0]))], columns=2)
    footnote(figure, tables, spec, f"{OUT}; {ceiling(runs)}")
    return figure


def variances(spec: str, tables: Tables) -> "Canvas":
    """Within-class over between-class variance, layer by layer (Fig. 3)."""
    (_, runs), *_ = list(cases_of(tables, spec).items())[-1:]
    figure, axes = style.sheet(1, 1, style.COLUMN, 2.0)
    values = curves(facts_of(tables, runs), "within/between")
    style.band(axes[0, 0], np.arange(1, values.shape[1] + 1), values, INSIDE)
    layer_axis(axes[0, 0], values.shape[1], runs)
    axes[0, 0].set_yscale("log")
    axes[0, 0].set_ylabel("within- / between-class variance")
    footnote(figure, tables, spec)
    return figure


def similarity(spec: str, tables: Tables) -> "Canvas":
    """Linear CKA between all pairs of layers, mean over seeds; the dashed lines mark s95 (Fig. 4)."""
    cases = cases_of(tables, spec)
    case, runs = list(cases.items())[-1]
    facts = facts_of(tables, runs)
    names = facts[facts["index"] > 0].sort_values("index")["layer"].drop_duplicates().tolist()
    matrix = np.stack([curves(facts, f"cka to {name}").mean(axis=0) for name in names])
    figure, axes = style.sheet(1, 1, style.COLUMN, 2.6)
    extent = (0.5, len(names) + 0.5, 0.5, len(names) + 0.5)
    image = axes[0, 0].imshow(matrix, vmin=0, vmax=1, cmap="viridis", origin="lower", extent=extent)
    s95 = float(runs["s95"].median()) + 0.5
    axes[0, 0].axhline(s95, color="white", ls="--", lw=0.8)
    axes[0, 0].axvline(s95, color="white", ls="--", lw=0.8)
    axes[0, 0].set(xlabel="layer", ylabel="layer", title=case)
    figure.colorbar(image, ax=axes[0, 0], label="linear CKA")
    footnote(figure, tables, spec, spread="means")
    return figure


def development(tables: Tables) -> "Canvas":
    """Rank of every fourth layer over the kept steps (Fig. 6), and how far each layer moved between them (Fig. 5).

    Steps between checkpoints differ, so each column is over its largest value: which layers move, not how fast.
    """
    runs = tables.where(spec="vgg_development")
    facts = facts_of(tables, runs)
    figure, axes = style.sheet(1, 2, style.PAGE, 2.3)
    rank = facts[facts["quantity"] == "rank"].groupby(["step", "index"])["value"].mean().unstack()
    shown = sorted({1, *range(4, len(rank.columns) + 1, 4), len(rank.columns)})
    for index, colour in zip(shown, style.graded(len(shown)), strict=True):
        axes[0, 0].plot(rank.index + 1, rank[index], "o-", ms=2.5, color=colour, label=f"layer {index}")
    axes[0, 0].set(xscale="log", xlabel="updates made + 1", ylabel="numerical rank")
    axes[0, 0].legend(ncols=2, loc="upper right")
    axes[0, 0].set_ylim(0, 1.35 * float(rank[shown].to_numpy().max()))  # room for the legend
    moved = facts[facts["quantity"] == "weight change"].groupby(["index", "step"])["value"].mean().unstack()
    image = axes[0, 1].imshow(
        (moved / moved.max()).to_numpy(),
        aspect="auto",
        origin="lower",
        cmap="viridis",
        extent=(-0.5, moved.shape[1] - 0.5, 0.5, moved.shape[0] + 0.5),
    )
    axes[0, 1].set_xticks(range(moved.shape[1]), [f"{step:.0f}" for step in moved.columns], rotation=60)
    axes[0, 1].set(xlabel="updates made", ylabel="layer")
    figure.colorbar(image, ax=axes[0, 1], label="RMS weight change since the\ncheckpoint before / largest layer's")
    footnote(figure, tables, "vgg_development", ceiling(runs), spread="means")
    return figure


def compared(spec: str, quantity: str, tables: Tables) -> "Canvas":
    """One line a case over the layers; a mark at each case's s95 (Figs. 8 and 9)."""
    cases = cases_of(tables, spec)
    figure, axes = style.sheet(1, 1, style.COLUMN, 2.3)
    for (case, runs), colour in zip(cases.items(), style.graded(len(cases)), strict=True):
        values = 100 * curves(facts_of(tables, runs), quantity)
        style.band(axes[0, 0], np.arange(1, values.shape[1] + 1), values, colour, case)
        s95 = runs["s95"].median()
        if s95 == s95:
            axes[0, 0].plot(s95, values.mean(axis=0)[int(s95) - 1], "D", color=colour, mec="white", ms=6)
    whole_layers(axes[0, 0], max(int(facts_of(tables, runs)["index"].max()) for runs in cases.values()))
    axes[0, 0].set(xlabel="layer (diamond: s95, the extractor's last)", ylabel=f"probe: {quantity} (%)")
    level([axes[0, 0]], least=10)
    style.legend(figure, axes, columns=3)
    footnote(figure, tables, spec, OUT if quantity == "OOD accuracy" else "ID: in distribution, the training classes")
    return figure


def shortened(tables: Tables) -> "Canvas":
    """Accuracy on each task when it was just learned, and forgetting, against the number of convolutions (Fig. 10)."""
    runs = tables.where(spec="shortened").copy()
    runs["convs"] = runs["model.convs"].fillna(runs["model.depth"] - 3).astype(int)
    figure, axes = style.sheet(1, 2, style.PAGE, 2.3)
    for axis, columns, label in (
        (axes[0, 0], {"learned_1": ("task 1", INSIDE), "learned_2": ("task 2", OUTSIDE)}, "accuracy when learned (%)"),
        (axes[0, 1], {"forg": ("forgetting of task 1", RANK)}, "forgetting (pp)"),
    ):
        for column, (name, colour) in columns.items():
            values = 100 * runs.pivot_table(index="seed", columns="convs", values=column)
            style.bars(axis, values.columns.to_numpy(), values.to_numpy(), colour, name)
            axis.axhline(values.iloc[:, -1].mean(), color=colour, lw=0.7, ls=":")
        mark_starts(axis, tables.where(spec="swap"), ("s95",))
        axis.set_xticks(sorted(runs["convs"].unique()))
        axis.set(xlabel="convolutions kept (dotted: all of them)", ylabel=label)
        axis.legend()
    footnote(figure, tables, "shortened")
    return figure


def kept_outside(tables: Tables) -> "Canvas":
    """Out-of-distribution accuracy of each layer as a share of the best layer's, a line a case (Harun et al.)."""
    cases = cases_of(tables, "harun_layers")
    figure, axes = style.sheet(1, 1, style.COLUMN, 2.3)
    order = sorted(cases, key=lambda case: (case != "plain", case))
    for case, (colour, line) in zip(order, style.distinct(len(order)), strict=True):
        values = curves(facts_of(tables, cases[case]), "OOD accuracy")
        values = 100 * values / values.max(axis=1, keepdims=True)
        style.band(axes[0, 0], np.arange(1, values.shape[1] + 1), values, colour, case, line)
    whole_layers(axes[0, 0], values.shape[1])
    axes[0, 0].set(xlabel="layer", ylabel="OOD accuracy (% of the best layer)")
    style.legend(figure, axes, columns=4)
    footnote(figure, tables, "harun_layers", f"{OUT}; plain: no crops, the paper's classes and pixels")
    return figure


def swap(tables: Tables) -> "Canvas":
    """Accuracy on both tasks of every exchange of halves, as a function of the cut (Table 1)."""
    runs = tables.where(spec="swap")
    facts = facts_of(tables, runs)
    figure, axes = style.sheet(1, 2, style.PAGE, 2.4)
    for axis, task in zip(axes[0], (1, 2), strict=True):
        for quantity, (colour, line) in EXCHANGES.items():
            own = facts[(facts["task"] == task) & (facts["quantity"] == quantity)]
            if len(own):
                values = own.pivot_table(index="run_id", columns="split", values="value").to_numpy()
                style.band(axis, np.arange(1, values.shape[1] + 1), 100 * values, colour, quantity, line)
        mark_starts(axis, runs)
        whole_layers(axis, int(facts["split"].max()))
        axis.set(xlabel="last layer of the extractor", ylabel=f"accuracy on task {task} (%)")
    style.legend(figure, axes, columns=6)
    footnote(figure, tables, "swap", "E1, E2: layers up to the cut after task 1, task 2; T1, T2: the layers behind it")
    return figure


def reset(tables: Tables) -> "Canvas":
    """Accuracy with the layers after the cut at their initial weights, with the trained head and with a new one (Sec. 3.1)."""
    facts = facts_of(tables, tables.where(spec="vgg_reset"))
    figure, axes = style.sheet(1, 1, style.COLUMN, 2.2)
    for quantity, colour, line in (("tunnel reset", RANK, "-"), ("tunnel reset, new head", INSIDE, "--")):
        own = facts[facts["quantity"] == quantity]
        values = own.pivot_table(index="run_id", columns="split", values="value").to_numpy()
        style.band(axes[0, 0], np.arange(1, values.shape[1] + 1), 100 * values, colour, quantity, line)
    whole_layers(axes[0, 0], values.shape[1])
    axes[0, 0].set(xlabel="last layer that keeps its trained weights", ylabel="test accuracy (%)")
    style.legend(figure, axes, columns=2)
    footnote(figure, tables, "vgg_reset")
    return figure


PROBES = "probes in and out of distribution, rank"
FIGURES = {
    "vgg_layers": Figure(
        partial(layers, "vgg_layers", "vgg_untrained"),
        ("vgg_layers",),
        f"VGG-19: {PROBES} (Figs. 1, 2 and 7).",
        also=("vgg_untrained",),
    ),
    "mlp_layers": Figure(partial(layers, "mlp_layers", None), ("mlp_layers",), f"Deep MLPs: {PROBES} (Figs. 2 and 7)."),
    "resnet_layers": Figure(
        partial(layers, "resnet_layers", None), ("resnet_layers",), f"A residual network: {PROBES} (Figs. 2 and 7)."
    ),
    "variances": Figure(
        partial(variances, "vgg_layers"), ("vgg_layers",), "VGG-19: within- over between-class variance (Fig. 3)."
    ),
    "similarity": Figure(
        partial(similarity, "mlp_layers"), ("mlp_layers",), "The deepest MLP: CKA between its layers (Fig. 4)."
    ),
    "development": Figure(
        development, ("vgg_development",), "VGG-19: rank over the first steps, change of weights (Figs. 5 and 6)."
    ),
    "depth": Figure(
        partial(compared, "mlp_layers", "ID accuracy"), ("mlp_layers",), "MLPs of several depths (Fig. 9)."
    ),
    "classes": Figure(
        partial(compared, "classes_layers", "OOD accuracy"), ("classes_layers",), "Fewer classes in training (Fig. 8)."
    ),
    "width": Figure(
        partial(compared, "width_layers", "ID accuracy"), ("width_layers",), "VGG-19 of several widths (Table 2)."
    ),
    "samples": Figure(
        partial(compared, "samples_layers", "ID accuracy"), ("samples_layers",), "Fewer training images (Table 3)."
    ),
    "swap": Figure(swap, ("swap",), "Extractor and tunnel exchanged between two tasks, at every cut (Table 1)."),
    "shortened": Figure(
        shortened, ("shortened", "swap"), "VGG-19 without its deepest convolutions, on two tasks (Fig. 10)."
    ),
    "reset": Figure(reset, ("vgg_reset",), "Tunnels put back to their initial weights (Sec. 3.1)."),
    "kept_outside": Figure(
        kept_outside, ("harun_layers",), "What layers keep out of distribution, by training variable (Harun et al.)."
    ),
}
