"""The figures of the tunnel effect: pure functions from the stored tables to matplotlib figures.

Everywhere: x is the layer, numbered from 1 at the input; bands are one sample SD over seeds; the shaded part is the
tunnel by the 95 % rule (from the median over seeds of s95 on, layer s95 being the last of the extractor).
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from common import style
from common.drawings import Figure, data_titles
from common.errors import Problem
from common.table import Tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

INSIDE, OUTSIDE, RANK = "#0173b2", "#de8f05", "#d55e00"
EXCHANGES = {
    "E1+T1": ("#000000", "-"), "E1+T2": ("#0173b2", "-"), "E2+T2": ("#949494", "-"), "E2+T1": ("#029e73", "-"),
    "E2+T1, new head": ("#029e73", "--"), "probe of E2": ("#d55e00", "--"),
}  # fmt: skip


def layers(spec: str, tables: Tables) -> "Canvas":
    """A panel a case: probe accuracy in and out of distribution, and rank (Figs. 1, 2 and 7)."""
    cases = cases_of(tables, spec)
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
        style.band(right, np.arange(1, ranks.shape[1] + 1), ranks, RANK, "rank (right axis)", "--")
        right.set_ylabel("numerical rank", color=RANK)
        right.set_ylim(0, None)
        right.spines["right"].set_visible(True)
        layer_axis(axis, ranks.shape[1], runs)
        axis.set_ylabel("probe accuracy (%)")
        axis.set_title(case, loc="left")
    style.legend(figure, [*axes[:, 0], *(a for a in figure.axes if a not in set(axes[:, 0]))], columns=3)
    footnote(figure, tables, spec)
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
    footnote(figure, tables, spec)
    return figure


def development(tables: Tables) -> "Canvas":
    """Rank of every fourth layer over the kept steps (Fig. 6), and how far each layer moved between them (Fig. 5)."""
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
        moved.to_numpy(),
        aspect="auto",
        origin="lower",
        cmap="viridis",
        extent=(-0.5, moved.shape[1] - 0.5, 0.5, moved.shape[0] + 0.5),
    )
    axes[0, 1].set_xticks(range(moved.shape[1]), [f"{step:.0f}" for step in moved.columns], rotation=60)
    axes[0, 1].set(xlabel="updates made", ylabel="layer")
    figure.colorbar(image, ax=axes[0, 1], label="weight change since the\ncheckpoint before (RMS)")
    footnote(figure, tables, "vgg_development")
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
    axes[0, 0].set(xlabel="layer (diamond: s95, where the tunnel starts)", ylabel=f"probe: {quantity} (%)")
    style.legend(figure, axes, columns=3)
    footnote(figure, tables, spec)
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
    footnote(figure, tables, "swap")
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


# --- shared ------------------------------------------------------------------------------------------------------


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


def curves(facts: "pd.DataFrame", quantity: str) -> np.ndarray:
    """[runs, layers] of a quantity."""
    rows = facts[(facts["quantity"] == quantity) & (facts["index"] > 0)]
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


def mark_starts(axis: "Axes", runs: "pd.DataFrame") -> None:
    """Nothing; dotted lines where the first task's tunnel starts by the 95 % and by the 98 % rule."""
    words: dict[float, str] = {}
    for word in ("s95", "s98"):
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


PROBES = "probes in and out of distribution, rank"
ABOUT: dict[str, tuple[Any, str, str]] = {
    "vgg_layers": (partial(layers, "vgg_layers"), "vgg_layers", f"VGG-19: {PROBES} (Figs. 1, 2 and 7)."),
    "mlp_layers": (partial(layers, "mlp_layers"), "mlp_layers", f"Deep MLPs: {PROBES} (Figs. 2 and 7)."),
    "resnet_layers": (
        partial(layers, "resnet_layers"),
        "resnet_layers",
        f"A residual network: {PROBES} (Figs. 2 and 7).",
    ),
    "variances": (
        partial(variances, "vgg_layers"),
        "vgg_layers",
        "VGG-19: within- over between-class variance (Fig. 3).",
    ),
    "similarity": (
        partial(similarity, "mlp_layers"),
        "mlp_layers",
        "The deepest MLP: CKA between its layers (Fig. 4).",
    ),
    "development": (
        development,
        "vgg_development",
        "VGG-19: rank over the first steps, change of weights (Figs. 5 and 6).",
    ),
    "depth": (partial(compared, "mlp_layers", "ID accuracy"), "mlp_layers", "MLPs of several depths (Fig. 9)."),
    "classes": (
        partial(compared, "classes_layers", "OOD accuracy"),
        "classes_layers",
        "Fewer classes in training (Fig. 8).",
    ),
    "swap": (swap, "swap", "Extractor and tunnel exchanged between two tasks, at every cut (Table 1)."),
    "reset": (reset, "vgg_reset", "Tunnels put back to their initial weights (Sec. 3.1)."),
}
FIGURES = {name: Figure(make, (spec,), about) for name, (make, spec, about) in ABOUT.items()}
