"""The figure of the simple baseline: the methods at the end, and the class mean under every cut of the classes."""

from typing import TYPE_CHECKING

from common import style
from common.drawings import Figure, data_titles
from common.table import Tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

COLOURS = {  # as in every figure of papers/coda_prompt
    "class mean": "#56b4e9", "linear probe": "#56b4e9", "FT": "#949494", "L2P++": "#de8f05",
    "DualPrompt": "#029e73", "CODA-P": "#d55e00",
}  # fmt: skip
OURS = {
    "class mean": "class mean",
    "Euclidean": "class mean, Euclidean",
    "not pre-trained": "class mean, untrained trunk",
}


def ends(tables: Tables) -> "Canvas":
    """ACC of every method (left); accuracy over all images of the class mean in fewer and more tasks (right)."""
    figure, axes = style.sheet(1, 2, style.PAGE, 2.4, ratios=(3, 2))
    left, right = axes[0]
    methods = 100 * tables.where(spec="methods").pivot_table(index="seed", columns="case", values="acc")
    names = sorted(methods.columns, key=lambda name: methods[name].mean())
    for place, name in enumerate(names):
        style.bars(left, [place], methods[[name]].to_numpy(), COLOURS["class mean" if name in OURS else name])
    left.set_xticks(range(len(names)), [OURS.get(name, name) for name in names], rotation=30, ha="right")
    left.set_xlabel("method, worst first")
    style.percent(left, "mean accuracy over tasks (%)", high=style.span(left)[1])
    looks = {"natural": ("-", COLOURS["class mean"]), "shuffled": (":", "#000000")}
    for order, rows in tables.where(spec="orders").groupby("stream.order"):
        cut = 100 * rows.pivot_table(index="seed", columns="stream.tasks", values="final")
        line, colour = looks[str(order)]
        style.bars(right, list(cut.columns), cut.to_numpy(), colour, f"class mean, {order} order", line)
        right.set_xticks(list(cut.columns), [f"{tasks:g}" for tasks in cut.columns])
    right.set_xlabel("tasks that the classes come in")
    style.percent(right, "accuracy, all images (%)", high=style.span(left)[1])
    style.legend(figure, right, place="right")
    seeds = f"mean ± SD over {methods.index.size} seeds"
    style.footnote(figure, f"{', '.join(data_titles(tables.runs))}; {seeds}; light blue: frozen features, no prompts")
    return figure


FIGURES = {
    "ends": Figure(
        ends, ("methods", "orders"), "Class mean, prompting and fine-tuning; cuts and orders of the classes."
    )
}
