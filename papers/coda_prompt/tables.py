"""The tables of CODA-Prompt, paper and ours side by side: means ± SD over seeds, percent."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from common.drawings import Table
from common.errors import Problem
from common.stats import bootstrap_interval, enough, paired_permutation_p
from common.table import Tables
from papers.coda_prompt.panels import NONE, cases_of, mean_sd, reported

if TYPE_CHECKING:
    import pandas as pd


PAPER_TASKS = {
    "methods_few": "5", "methods": "10", "methods_many": "20", "cifar100": "10", "domainnet": "5", "dual_shift": "5",
    "ablation": "10",
}  # fmt: skip


def results(specs: tuple[str, ...], tables: Tables) -> "pd.DataFrame":
    """A_N and F_N of every method at every benchmark; the paper's numbers are its full-size ones."""
    import pandas as pd

    lines = []
    for spec in specs:
        if not len(tables.runs[tables.runs["spec"] == spec]):
            continue
        for case, rows in cases_of(tables, spec).items():
            tasks = int(rows["stream.tasks"].max())
            lines.append({"tasks, paper": PAPER_TASKS.get(spec, NONE), "method": case or NONE} | _paper(spec, case))
            lines[-1] |= {"tasks, ours": f"{tasks}"} | _ours(rows)
    if not lines:
        raise Problem(f"there are no runs of {', '.join(specs)}")
    return pd.DataFrame(lines)


def _paper(spec: str, case: str) -> dict[str, str]:
    a, a_spread, f, f_spread = reported().get(spec, {}).get(case, [None] * 4)
    return {"A_N, paper": _number(a, a_spread), "F_N, paper": _number(f, f_spread)}


def _number(value: float | None, spread: float | None) -> str:
    return NONE if value is None else f"{value:.1f}" + ("" if spread is None else f" ± {spread:.1f}")


def _ours(rows: "pd.DataFrame") -> dict[str, str]:
    found = {"A_N": "a_n", "F_N": "f_n", "F_N, max form": "f_max", "mean A_t": "caa", "new task": "new"}
    several = (rows["f_n"].notna()).any()
    return {
        f"{name}, ours": mean_sd(rows[column]) if several or column == "a_n" else NONE for name, column in found.items()
    } | {"seeds": str(rows["seed"].nunique())}


def paired(tables: Tables) -> "pd.DataFrame":
    """CODA-P less every other method, paired by seed: percentage points, bootstrap interval, exact p."""
    import pandas as pd

    lines = []
    for spec in (*SPLITS, "cifar100", "domainnet", "dual_shift"):
        if not len(tables.runs[tables.runs["spec"] == spec]):
            continue
        cases = cases_of(tables, spec)
        coda = cases.pop("CODA-P", None)
        for case, rows in cases.items():
            for column, name in (("a_n", "A_N"), ("f_n", "F_N"), ("new", "new task")):
                if coda is None or rows[column].isna().all():
                    continue
                apart = 100 * (coda.set_index("seed")[column] - rows.set_index("seed")[column]).dropna().to_numpy()
                lines.append({"spec": spec, "CODA-P less": case, "measure": name} | _compared(apart))
    return pd.DataFrame(lines)


def _compared(apart: np.ndarray) -> dict[str, str]:
    low, high = bootstrap_interval(apart)
    p = paired_permutation_p(apart)
    return {
        "difference (pp)": f"{apart.mean():+.1f}" if len(apart) else NONE,
        "95 % interval": NONE if np.isnan(low) else f"[{low:+.1f}, {high:+.1f}]",
        "exact p": NONE if np.isnan(p) else f"{p:.4g}",
        "seeds": str(len(apart)),
        "remark": "too few seeds to tell" if enough(len(apart)) else "",
    }


def cost(tables: Tables) -> "pd.DataFrame":
    """What a method trains and computes, and what its final model knows when the task is told."""
    import pandas as pd

    lines = []
    for case, rows in cases_of(tables, "methods_last").items():
        line = {"method": case, "trained parameters": f"{rows['trained'].iloc[0]:,.0f}"}
        line["of trunk and head (%)"] = mean_sd(rows["trained_share"][:1])
        line["multiply-adds an answer (M)"] = mean_sd(rows["macs"][:1], 1e-6, 2)
        line["of a plain forward pass"] = mean_sd(rows["mac_ratio"][:1], 1, 3)
        line["accuracy, task known (%)"] = mean_sd(rows["local"])
        for column, words in (("right_prompt", "own prompt chosen (%)"), ("prompts_used", "prompts ever chosen (%)")):
            line[words] = mean_sd(rows[column]) if column in rows else NONE
        lines.append(line)
    return pd.DataFrame(lines)


SPLITS = ("methods_few", "methods", "methods_many")
OTHERS = ("methods_few", "methods_many")
TABLES = {
    "table_1": Table(
        partial(results, SPLITS),
        ("methods",),
        "Methods at three numbers of tasks (Table 1; the paper's column: ImageNet-R).",
        OTHERS,
    ),
    "table_2_cifar100": Table(partial(results, ("cifar100",)), ("cifar100",), "CIFAR-100 (Table 2)."),
    "table_2_domainnet": Table(partial(results, ("domainnet",)), ("domainnet",), "DomainNet (Table 2)."),
    "table_2_dual_shift": Table(
        partial(results, ("dual_shift",)), ("dual_shift",), "Dual shift (Table 2; the paper's column: ImageNet-R)."
    ),
    "table_3": Table(
        partial(results, ("ablation",)), ("ablation",), "Ablations of CODA-P (Table 3; the paper's column: ImageNet-R)."
    ),
    "variants": Table(partial(results, ("variants",)), ("variants",), "Where paper, code and ports differ."),
    "paired": Table(
        paired,
        ("methods",),
        "CODA-P less every other method, paired by seed; exact sign-flip test, two-sided.",
        (*OTHERS, "cifar100", "domainnet", "dual_shift"),
    ),
    "cost": Table(
        cost, ("methods_last",), "Parameters, multiply-adds, accuracy with the task known, choice of prompts."
    ),
}
