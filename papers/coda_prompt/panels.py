"""What the figures and tables of CODA-Prompt share: methods in one order and colour, the paper's numbers, footnotes."""

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from common import style
from common.drawings import data_titles
from common.errors import Problem
from common.places import ROOT
from common.table import Tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

# case -> colour, line; the order of the paper's tables, with the floors that it lacks
METHODS: dict[str, tuple[str, str]] = {
    "joint": ("#000000", "-"),
    "joint linear probe": ("#000000", ":"),
    "ER": ("#0173b2", "-"),
    "FT": ("#949494", "-"),
    "FT++": ("#949494", "--"),
    "LwF.MC": ("#ca9161", "-"),
    "class mean": ("#56b4e9", ":"),
    "linear probe": ("#56b4e9", "-"),
    "L2P++": ("#de8f05", "-"),
    "L2P++ repaired": ("#de8f05", ":"),
    "Deep L2P++": ("#de8f05", "--"),
    "DualPrompt": ("#029e73", "-"),
    "CODA-P-S": ("#d55e00", "--"),
    "CODA-P": ("#d55e00", "-"),
}
NONE = "–"


@cache
def reported() -> dict[str, dict[str, list[float | None]]]:
    """spec -> case -> [A_N, spread, F_N, spread] as the paper has them."""
    import yaml

    found: Any = yaml.safe_load((ROOT / "papers" / "coda_prompt" / "reported.yaml").read_text())
    return dict(found)


def cases_of(tables: Tables, spec: str) -> dict[str, "pd.DataFrame"]:
    """case -> runs of a spec, methods in the order of the paper, other cases as they come. Errors: Problem without runs."""
    runs = tables.where(spec=spec)
    if runs.empty:
        raise Problem(f"there are no runs of {spec}")
    there = list(dict.fromkeys(runs["case"].fillna("")))
    order = [case for case in METHODS if case in there] + [case for case in there if case not in METHODS]
    return {case: runs[runs["case"].fillna("") == case] for case in order}


def mean_sd(values: "pd.Series | np.ndarray", scale: float = 100, digits: int = 1) -> str:
    """ "75.4 ± 0.6" (sample SD); the mean alone of one value; a dash without any."""
    known = scale * np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    if not len(known):
        return NONE
    return f"{known.mean():.{digits}f}" + (f" ± {known.std(ddof=1):.{digits}f}" if len(known) > 1 else "")


def footnote(figure: "Canvas", tables: Tables, *specs: str, spread: str = "mean ± SD", words: str = "") -> None:
    """Nothing; data set and number of seeds below the figure."""
    runs = tables.runs[tables.runs["spec"].isin(specs)]
    seeds = runs.groupby(["spec", runs["case"].fillna("")])["seed"].nunique()
    many = f"{seeds.min()}" if seeds.min() == seeds.max() else f"{seeds.min()} to {seeds.max()}"
    seeds_shown = "first seed" if spread == "first" else f"{spread} over {many} seeds"
    style.footnote(figure, "; ".join(filter(None, (", ".join(data_titles(runs)), seeds_shown, words))))
