"""What the figures and tables of L2M share: methods in one order and colour, the seven known numbers, footnotes."""

from typing import TYPE_CHECKING, Any

import numpy as np

from common import style
from common.errors import Problem
from common.table import Tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

# case -> colour, line
METHODS: dict[str, tuple[str, str]] = {
    "joint": ("#000000", "-"),
    "FT": ("#949494", "-"),
    "FT-last": ("#949494", "--"),
    "FT-head": ("#949494", ":"),
    "adapters": ("#ca9161", "--"),
    "LoRA": ("#ca9161", "-"),
    "IA3": ("#ca9161", ":"),
    "prompt tuning": ("#56b4e9", "-"),
    "prefix tuning": ("#56b4e9", "--"),
    "P-tuning v2": ("#56b4e9", ":"),
    "EWC": ("#029e73", "-"),
    "L2": ("#029e73", "--"),
    "L2P-PT": ("#de8f05", "-"),
    "L2P-PreT": ("#de8f05", "--"),
    "L2P-Pv2": ("#de8f05", ":"),
    "L2M without old keys": ("#d55e00", ":"),
    "L2M-IA3": ("#d55e00", "--"),
    "L2M": ("#d55e00", "-"),
    "L2M-oracle": ("#cc78bc", "-"),
}
# mean success on CW10 at the end (last step), as PSEC (arXiv 2502.05932) repeats the paper's table: a secondary source
SECONDARY = {
    "L2M": 65, "L2M-oracle": 77, "L2P-Pv2": 40, "L2P-PreT": 34, "L2P-PT": 23, "EWC": 17, "L2": 10,
}  # fmt: skip
NONE = "–"


def cases_of(tables: Tables, spec: str) -> dict[str, "pd.DataFrame"]:
    """case -> runs of a spec, methods in one order, other cases as they come. Errors: Problem without runs."""
    runs = tables.where(spec=spec)
    if runs.empty:
        raise Problem(f"there are no runs of {spec}")
    there = list(dict.fromkeys(runs["case"].fillna("")))
    order = [case for case in METHODS if case in there] + [case for case in there if case not in METHODS]
    return {case: runs[runs["case"].fillna("") == case] for case in order}


def collected(tables: Tables) -> "pd.DataFrame":
    """Facts of the collection, one row an episode. Errors: Problem without any."""
    runs = tables.where(spec="trajectories")["run_id"].astype(str)
    facts = tables.facts
    own = facts[facts["run_id"].isin(runs)]
    if own.empty:
        raise Problem("there is no collection")
    return own


def by_seed(rows: "pd.DataFrame", column: str) -> np.ndarray:
    """The column's mean in each seed (single tasks: over their runs), NaN left out."""
    return np.asarray(rows.groupby("seed")[column].mean().dropna())


def mean_sd(values: Any, scale: float = 100, digits: int = 0) -> str:
    """ "65 ± 3" (sample SD); the mean alone of one value; a dash without any."""
    known = scale * np.asarray(values, dtype=float)
    if not len(known):
        return NONE
    return f"{known.mean():.{digits}f}" + (f" ± {known.std(ddof=1):.{digits}f}" if len(known) > 1 else "")


def scored(tables: Tables, runs: "pd.DataFrame") -> "pd.DataFrame":
    """Every evaluation of those runs: run_id, step, task (a played one), score, new (whether the run learns that task)."""
    curves = tables.curves
    own = curves[curves["run_id"].isin(runs["run_id"].astype(str))].copy()
    if own.empty:
        raise Problem("no run has a curve")
    named = {row["run_id"]: (listed(row["stream.play"]), listed(row["stream.learn"])) for _, row in runs.iterrows()}
    own["name"] = [named[run][0][task] for run, task in zip(own["run_id"].astype(str), own["task"], strict=True)]
    own["new"] = [name in named[run][1] for run, name in zip(own["run_id"].astype(str), own["name"], strict=True)]
    return own


def listed(cell: Any) -> list[str]:
    """Names of tasks in a cell of the table of runs, splits written out."""
    import ast

    from papers.l2m.catalogue import SPLITS

    names = ast.literal_eval(cell) if isinstance(cell, str) else list(cell)
    return [name for word in names for name in SPLITS.get(word, (word,))]


def suites(runs: "pd.DataFrame") -> str:
    """The simulators whose tasks those runs play, by name."""
    from papers.l2m.catalogue import domain_of

    names = {"metaworld": "Meta-World", "dmcontrol": "DMControl"}
    played = {domain_of(name) for cell in runs["stream.play"].dropna().unique() for name in listed(cell)}
    return ", ".join(sorted(names[domain] for domain in played))


def footnote(figure: "Canvas", tables: Tables, *specs: str, shown: str = "mean ± SD over {} seeds") -> None:
    """Nothing; what is shown and of how many seeds, below the figure."""
    runs = tables.runs[tables.runs["spec"].isin(specs)]
    seeds = " or ".join(map(str, sorted(set(runs.groupby("spec")["seed"].nunique()))))
    episodes = sorted({f"{int(n)}" for n in runs["evaluation.samples"].dropna()})
    words = f"{suites(runs)}; score: solved at any step; {' or '.join(episodes)} episodes a task"
    style.footnote(figure, f"{words}; {shown.format(seeds)}")
