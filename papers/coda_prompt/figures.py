"""The figures of CODA-Prompt: pure functions from the stored tables to matplotlib figures."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from common import style
from common.drawings import Figure
from common.errors import Problem
from common.table import Tables
from papers.coda_prompt.panels import METHODS, cases_of, footnote
from papers.coda_prompt.tables import TABLES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

__all__ = ["FIGURES", "TABLES"]

SWEEPS = {
    "sweep_components": (("CODA-P", "learner.components", "components"), ("L2P++", "learner.pool", "prompts in the pool")),
    "sweep_length": (
        ("CODA-P", "learner.length", "length of prompts"), ("DualPrompt", "learner.e_length", ""), ("L2P++", "learner.length", ""),
    ),
}  # fmt: skip

FEW = 6
NEAR = 0.1  # accuracy
MARKS = {"-": "o", "--": "s", ":": "^"}  # a point's mark, by the method's line


def over_tasks(specs: tuple[str, ...], tables: Tables) -> "Canvas":
    """A_t, the mean accuracy over the tasks seen, after each task; a panel a number of tasks that was run. Joint training: its end.

    A panel of more than FEW methods shows means alone.
    """
    from matplotlib.ticker import MaxNLocator

    specs = tuple(spec for spec in specs if (tables.runs["spec"] == spec).any())
    figure, axes = style.sheet(1, len(specs), style.PAGE, 2.5)
    for axis, spec in zip(axes[0], specs, strict=True):
        cases = cases_of(tables, spec)
        for case, runs in cases.items():
            values = averages(tables, runs)
            if len(cases) > FEW:
                values = values.mean(axis=0, keepdims=True)  # bands of many methods hide each other
            colour, line = METHODS[case]
            if values.shape[1] == 1:
                axis.axhline(100 * values.mean(), color=colour, ls=line, lw=0.9, label=case)
            else:
                style.band(axis, np.arange(1, values.shape[1] + 1), 100 * values, colour, case, line)
        axis.set_xlabel("tasks learned")
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axis.set_title(f"{int(tables.where(spec=spec)['stream.tasks'].max())} tasks", loc="left")
        style.percent(axis, "mean accuracy over tasks seen (%)", high=style.span(axis)[1])
    style.legend(figure, axes, columns=5)
    bands = any(len(cases_of(tables, spec)) <= FEW for spec in specs)
    footnote(figure, tables, *specs, spread="means (bands: ± SD)" if bands else "means")
    return figure


def differences(tables: Tables) -> "Canvas":
    """A_t of each method less that of CODA-P in the same seed, after each task, where it ends within NEAR of it."""
    from matplotlib.ticker import MaxNLocator

    cases = cases_of(tables, "methods")
    if "CODA-P" not in cases:
        raise Problem("there are no runs of CODA-P")
    one = averages(tables, cases["CODA-P"])
    figure, axes = style.sheet(1, 1, style.COLUMN, 2.4)
    for case, runs in cases.items():
        values = averages(tables, runs)
        if values.shape != one.shape or abs((values - one)[:, -1].mean()) > NEAR:
            continue
        style.band(
            axes[0, 0], np.arange(1, one.shape[1] + 1), 100 * (values - one), METHODS[case][0], case, METHODS[case][1]
        )
    axes[0, 0].set(xlabel="tasks learned", ylabel="mean accuracy over tasks seen,\nless that of CODA-P (pp)")
    axes[0, 0].xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    style.legend(figure, axes, columns=3)
    footnote(figure, tables, "methods", words=f"paired by seed; methods that end within {100 * NEAR:g} pp")
    return figure


def averages(tables: Tables, runs: "pd.DataFrame") -> np.ndarray:
    """[runs, tasks]: A_t, in the order of seeds."""
    curves = tables.curves
    found = {}
    for run in runs.sort_values("seed")["run_id"].astype(str):
        own = curves[(curves["run_id"] == run) & (curves["step"] > 0)]
        found[run] = own.groupby("step")["accuracy"].mean().to_numpy()
    lines = [line for line in found.values() if len(line)]
    if not lines:
        raise Problem("no run has a curve")
    return np.stack(lines)


def plane(tables: Tables) -> "Canvas":
    """Every method by how well it learns a task and what is left in the end: new-task accuracy, A_N and F_N."""
    figure, axes = style.sheet(1, 2, style.PAGE, 2.6)
    for case, runs in cases_of(tables, "methods").items():
        if runs["f_n"].isna().all():
            continue
        colour, line = METHODS[case]
        mark = {"fmt": MARKS[line], "mfc": colour if line == "-" else "white"}
        for axis, across, along in ((axes[0, 0], "new", "a_n"), (axes[0, 1], "f_n", "a_n")):
            x, y = 100 * runs[across].to_numpy(), 100 * runs[along].to_numpy()
            deviation = [values.std(ddof=1) if len(values) > 1 else 0 for values in (x, y)]
            axis.errorbar(
                x.mean(),
                y.mean(),
                deviation[1],
                deviation[0],
                color=colour,
                label=case,
                capsize=2,
                elinewidth=0.7,
                **mark,
            )
    axes[0, 0].set(xlabel="accuracy on a task when just learned (%)", ylabel="accuracy at the end, A_N (%)")
    axes[0, 1].set(xlabel="forgetting, F_N (pp)", ylabel="accuracy at the end, A_N (%)")
    style.legend(figure, axes, columns=5)
    footnote(figure, tables, "methods")
    return figure


def sweeps(tables: Tables) -> "Canvas":
    """A_N against the number of components (prompts in the pool), and against the length of prompts (Fig. 4)."""
    figure, axes = style.sheet(1, 2, style.PAGE, 2.3)
    for axis, (spec, lines) in zip(axes[0], SWEEPS.items(), strict=True):
        cases = cases_of(tables, spec)
        for case, column, _ in lines:
            if case not in cases:
                continue
            values = 100 * cases[case].pivot_table(index="seed", columns=column, values="a_n")
            for _, seed in values.iterrows():
                axis.plot(
                    values.columns.to_numpy(dtype=float), seed.to_numpy(), color=METHODS[case][0], lw=0.6, alpha=0.6
                )
            axis.plot(
                values.columns.to_numpy(dtype=float), values.mean().to_numpy(), "o-", color=METHODS[case][0], label=case
            )
        axis.set_xscale("log")
        ticks = sorted({float(v) for case, column, _ in lines if case in cases for v in cases[case][column].dropna()})
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        axis.set_xticks([], minor=True)
        axis.set_xlabel(" or ".join(word for *_, word in lines if word))
    for axis in axes[0]:
        axis.set_ylim(min(a.dataLim.y0 for a in axes[0]) - 1, max(a.dataLim.y1 for a in axes[0]) + 1)
        axis.set_ylabel("accuracy at the end, A_N (%)")
    style.legend(figure, axes)
    footnote(figure, tables, *SWEEPS, spread="mean (thick) and each (thin)", words="x: logarithmic")
    return figure


def choices(tables: Tables) -> "Canvas":
    """Which prompts images of each task take at the end: DualPrompt's keys, L2P's pool, weights of CODA-P's components.

    One seed: a prompt of L2P's pool has nothing to do with that of the same number in another.
    """
    runs = tables.where(spec="methods_last")
    runs = runs[runs["seed"] == runs["seed"].min()]
    shown = (
        ("DualPrompt", "choice", "prompt"),
        ("L2P++", "choice", "prompt"),
        ("CODA-P", "weight", "components of task"),
    )
    figure, axes = style.sheet(1, len(shown), style.PAGE, 2.1)
    for axis, (case, quantity, label) in zip(axes[0], shown, strict=True):
        own = runs[runs["case"] == case]["run_id"].astype(str)
        facts = tables.facts
        facts = facts[facts["run_id"].isin(own) & (facts["quantity"] == quantity)]
        if facts.empty:
            raise Problem(f"there are no choices of {case}")
        shares = facts.pivot_table(
            index="task", columns="other", values="value", aggfunc="mean", fill_value=0
        ).to_numpy()
        image = axis.imshow(shares, aspect="auto", cmap="viridis", vmin=0, origin="lower")
        axis.set(title=case, xlabel=label, ylabel="task of the image")
        for side, count in ((axis.xaxis, shares.shape[1]), (axis.yaxis, shares.shape[0])):
            ticks = range(0, count, max(1, -(-count // 6)))
            side.set_ticks(ticks, [str(tick + 1) for tick in ticks])
        figure.colorbar(image, ax=axis, label="mean |alpha|" if quantity == "weight" else "share of images")
    words = "an image takes one prompt of DualPrompt, five of L2P++'s pool, all components of CODA-P"
    footnote(figure, tables, "methods_last", spread="first", words=words)
    return figure


FEW_TO_MANY = ("methods_few", "methods", "methods_many")
FIGURES = {
    "over_tasks": Figure(
        partial(over_tasks, FEW_TO_MANY),
        ("methods",),
        "Mean accuracy over the tasks seen, at each number of tasks that was run.",
        ("methods_few", "methods_many"),
    ),
    "differences": Figure(differences, ("methods",), "The methods that end near CODA-P, less CODA-P in the same seed."),
    "plane": Figure(plane, ("methods",), "Learning new tasks against what is left at the end and what is forgotten."),
    "sweeps": Figure(sweeps, tuple(SWEEPS), "Number of components and length of prompts (Fig. 4)."),
    "choices": Figure(choices, ("methods_last",), "Which prompts images of each task take, after the last task."),
}
