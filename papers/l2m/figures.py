"""The figures of L2M: pure functions from the stored tables to matplotlib figures."""

from typing import TYPE_CHECKING, Any

import numpy as np

from common import style
from common.drawings import Figure
from common.errors import Problem
from common.table import Tables
from papers.l2m.panels import METHODS, by_seed, cases_of, collected, footnote, listed, scored, suites
from papers.l2m.statistics import picture
from papers.l2m.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

__all__ = ["FIGURES", "TABLES"]

FEW = 6
MARKS = {"-": "o", "--": "s", ":": "^"}  # a point's mark, by the method's line
CURVES = (
    "joint",
    "FT",
    "LoRA",
    "EWC",
    "L2P-Pv2",
    "L2M without old keys",
    "L2M",
    "L2M-oracle",
)  # what can be told apart


def episodes(tables: Tables) -> "Canvas":
    """Reward a step of every collected episode, by task and noise."""
    return picture(collected(tables))


def trade_off(tables: Tables) -> "Canvas":
    """Every method by its score on new tasks and the share of the pre-training score that it keeps; the sequence, single tasks."""
    specs = [spec for spec in ("sequence", "single") if len(tables.runs[tables.runs["spec"] == spec])]
    figure, axes = style.sheet(1, len(specs), style.PAGE, 2.8)
    for axis, spec in zip(axes[0], specs, strict=True):
        for case, runs in cases_of(tables, spec).items():
            x, y = 100 * by_seed(runs, "new"), 100 * by_seed(runs, "retention")
            if not len(x) or not len(y):
                continue
            colour, line = METHODS.get(case, ("#000000", "-"))
            spread = [values.std(ddof=1) if len(values) > 1 else 0 for values in (y, x)]
            mark = {"fmt": MARKS[line], "mfc": colour if line == "-" else "white"}
            axis.errorbar(x.mean(), y.mean(), *spread, color=colour, label=case, capsize=2, elinewidth=0.7, **mark)
        axis.axhline(100, color=style.MUTED, lw=0.6, ls=":")
        axis.set(xlabel="score on new tasks (%)", ylabel="pre-training score kept (%)")
        axis.set_title({"sequence": "after the sequence", "single": "one new task alone"}[spec], loc="left")
    style.legend(figure, axes, columns=6)
    footnote(figure, tables, *specs, shown="mean ± SD over {} seeds; dotted: as before the first update")
    return figure


def over_updates(tables: Tables) -> "Canvas":
    """Scores on new and on pre-training tasks at the ends of the tasks of the sequence; means alone of more than FEW methods."""
    figure, axes = style.sheet(1, 2, style.PAGE, 2.6)
    cases = {case: runs for case, runs in cases_of(tables, "sequence").items() if case in CURVES}
    for case, runs in cases.items():
        points = scored(tables, runs)
        colour, line = METHODS[case]
        for axis, new in zip(axes[0], (True, False), strict=True):
            own = points[points["new"] == new].groupby(["run_id", "step"], observed=True)["score"].mean().unstack()
            values = 100 * own.to_numpy()
            if len(cases) > FEW:
                values = values.mean(axis=0, keepdims=True)  # bands of many methods hide each other
            if values.shape[1] == 2:  # joint training has one task: its end
                axis.axhline(values[:, -1].mean(), color=colour, ls=line, lw=0.9, label=case)
            else:
                style.band(axis, own.columns.to_numpy(), values, colour, case, line)
    for axis, words in zip(axes[0], ("new tasks", "pre-training tasks"), strict=True):
        axis.set_title(words, loc="left")
        axis.set_xlabel("updates")
        style.percent(axis, "mean score (%)")
    style.legend(figure, axes, columns=4)
    spread = "mean ± SD" if len(cases) <= FEW else "means"
    footnote(figure, tables, "sequence", shown=f"{spread} over {{}} seeds; horizontal: joint training, its end")
    return figure


def keys(tables: Tables) -> "Canvas":
    """Which keys windows of each task take at the end; right of the line those of pre-training tasks (modulation off)."""
    shown = ("L2M without old keys", "L2M", "L2M-oracle")
    found = {case: found for case in shown if len(found := facts_of(tables, case, "key"))}
    if not found:
        raise Problem("there are no choices of keys")
    figure, axes = style.sheet(1, len(found), style.PAGE, 2.8)
    names = list(dict.fromkeys(name for facts in found.values() for name in facts["task"]))
    new = listed(tables.where(spec="sequence")["stream.learn"].iloc[0])
    names = [name for name in names if name in new] + [name for name in names if name not in new]
    for axis, (case, facts) in zip(axes[0], found.items(), strict=True):
        shares = first_of(facts).pivot_table(index="task", columns="other", values="value", fill_value=0, sort=False)
        table = shares.reindex(names)
        order = sorted(map(int, table.columns), key=lambda key: (key < 0, abs(key)))
        image = axis.imshow(table[order].to_numpy(), aspect="auto", cmap="viridis", vmin=0, vmax=1)
        if min(order) < 0:
            axis.axvline(sum(key >= 0 for key in order) - 0.5, color="white", lw=1)
        axis.axhline(sum(name in new for name in names) - 0.5, color="white", lw=1)
        axis.set_yticks(range(len(table)), table.index if axis is axes[0, 0] else [""] * len(table))
        axis.set(title=case, xlabel="key (those taken)", xticks=[])
    figure.colorbar(image, ax=axes[0, -1], label="share of windows")
    style.footnote(
        figure,
        f"{suites(tables.where(spec='sequence'))}; first seed; below the line: pre-training tasks; right of it: their keys "
        "(modulation off); the oracle plays no other tasks by keys",
    )
    return figure


def facts_of(tables: Tables, case: str, quantity: str) -> "pd.DataFrame":
    """Facts of a quantity of the analyses of a case."""
    runs = tables.where(spec="looked_at")
    own = runs[runs["case"] == case].sort_values("seed")["run_id"].astype(str)
    facts = tables.facts
    facts = facts[(facts["quantity"] == quantity) & facts["run_id"].isin(own)]
    return facts.assign(run_id=facts["run_id"].astype(str))


def queries(tables: Tables) -> "Canvas":
    """Queries of each task, keys of the pool and keys of pre-training tasks, on the two main directions of the queries."""
    points, places = (facts_of(tables, "L2M", quantity) for quantity in ("query", "place"))
    if points.empty:
        raise Problem("there are no queries of L2M")
    run = points["run_id"].iloc[0]
    points, places = points[points["run_id"] == run], places[places["run_id"] == run]
    figure, axes = style.sheet(1, 1, style.COLUMN + 1.5, 4.2)
    axis: Any = axes[0, 0]
    names = list(dict.fromkeys(points["task"]))
    for place, name in enumerate(names):
        own = points[points["task"] == name]
        colour = style.distinct(8)[place % 8][0]
        axis.plot(own["x"], own["y"], "os^v"[place // 3 % 4], ms=3, color=colour, mec="white", mew=0.2, label=name)
    for mark, own, label in (
        ("*", places[places["other"] >= 0], "key of the pool"),
        ("x", places[places["other"] < 0], "key of pre-training"),
    ):
        axis.plot(
            own["x"],
            own["y"],
            mark,
            ms=9,
            color="#d55e00",
            mec="#d55e00" if mark == "x" else "black",
            label=label if len(own) else "_",
        )
    reach = 1.1 * np.abs(points[["x", "y"]].to_numpy()).max()
    axis.set(
        xlabel="first direction", ylabel="second direction", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal"
    )
    style.legend(figure, axes, columns=3)
    words = "first seed; cosines count: what lies outwards in one direction belongs together"
    style.footnote(figure, f"{suites(tables.where(spec='sequence'))}; {words}")
    return figure


def ablations(tables: Tables) -> "Canvas":
    """Score on new tasks and share kept of pre-training, for each way that L2M was changed."""
    cases = cases_of(tables, "ablation")
    figure, axes = style.sheet(1, 2, style.PAGE, 0.3 * len(cases) + 0.5)
    for axis, column, words in zip(
        axes[0], ("new", "retention"), ("score on new tasks (%)", "pre-training score kept (%)"), strict=True
    ):
        for place, runs in enumerate(cases.values()):
            values = 100 * by_seed(runs, column)
            axis.plot(values, np.full(len(values), place), ".", color=style.MUTED, ms=4)
            axis.plot(values.mean(), place, "o", color="#d55e00")
        axis.set_yticks(range(len(cases)), list(cases) if axis is axes[0, 0] else [""] * len(cases))
        axis.invert_yaxis()
        axis.set_xlim(left=0)
        axis.set_xlabel(words)
    footnote(figure, tables, "ablation", shown="grey: each of {} seeds, orange: their mean")
    return figure


def paths(tables: Tables) -> "Canvas":
    """The hand in the first episode of each new task, seen from above and its height: the scripted expert, and some methods."""
    shown = ("FT", "L2M without old keys", "L2M", "L2M-oracle")
    found = {case: own for case in shown if len(own := first_of(facts_of(tables, case, "path")))}
    if not found:
        raise Problem("no episode was recorded")
    runs = tables.where(spec="sequence")
    names = listed(runs["stream.learn"].iloc[0])
    expert = first_of(facts_of(tables, next(iter(found)), "expert_path"))
    lines = [("expert", expert, "#000000", ":"), *((case, own, *METHODS[case]) for case, own in found.items())]
    lines.sort(key=lambda line: line[0] != "L2M")  # drawn first
    figure, axes = style.sheet(2, len(names), style.PAGE, 1.7)
    for (above, height), name in zip(axes.T, names, strict=True):
        for label, facts, colour, line in lines:
            width = 2.4 if label == "L2M" else 0.9  # a path that equals it is seen on it
            own = facts[facts["task"] == name].sort_values("other")
            above.plot(100 * own["x"], 100 * own["y"], line, color=colour, label=label, lw=width)
            height.plot(own["other"], 100 * own["value"], line, color=colour, label=label, lw=width)
        above.plot(*(100 * own[axis].iloc[0] for axis in ("x", "y")), "o", color="#000000", ms=3)
        above.set_title(name, loc="left")
        above.set(xlabel="to the right (cm)", ylabel="forward (cm)", aspect="equal")
        above.set_adjustable("datalim")
        height.set(xlabel="step", ylabel="height (cm)")
    style.legend(figure, axes, columns=5)
    style.footnote(
        figure, "the hand of the robot, after the sequence; one episode, the same for all; first seed; dot: start"
    )
    return figure


def first_of(facts: "pd.DataFrame") -> "pd.DataFrame":
    """The facts of the first run among them."""
    return facts[facts["run_id"] == facts["run_id"].iloc[0]] if len(facts) else facts


FIGURES = {
    "episodes": Figure(episodes, ("trajectories",), "The collected episodes: reward a step by task and noise."),
    "trade_off": Figure(
        trade_off,
        ("sequence",),
        "What is learned against what is kept, all methods (the paper's trade-off).",
        ("single",),
    ),
    "over_updates": Figure(over_updates, ("sequence",), "New and pre-training tasks over the sequence."),
    "keys": Figure(keys, ("looked_at",), "Which keys each task takes at the end."),
    "queries": Figure(queries, ("looked_at",), "Queries and keys on two directions."),
    "paths": Figure(paths, ("looked_at", "sequence"), "How the hand moves in an episode of each new task."),
    "ablations": Figure(ablations, ("ablation",), "What L2M's scores hang on."),
}
