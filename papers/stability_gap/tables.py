"""The tables of the stability gap: the paper's numbers beside ours, all methods, and paired comparisons with ER.

Data frames of texts, in percent, mean ± SD over seeds. The paper's numbers are those of claims.yaml, nowhere else.
"""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from common.claims import load_claims
from common.drawings import Table
from common.places import ROOT
from common.stats import bootstrap_interval, enough, paired_permutation_p
from common.table import Tables
from papers.stability_gap.curves import in_order

if TYPE_CHECKING:
    import pandas as pd

METRICS = {
    "acc": "ACC", "forg": "FORG", "min_acc": "min-ACC", "wc_acc": "WC-ACC", "wf10": "WF10", "wf100": "WF100",
    "wp10": "WP10", "wp100": "WP100", "lca": "LCA",
}  # fmt: skip
ORDER = ("Finetune", "Joint", "ER", "GEM", "A-GEM", "EWC", "SI", "LwF")
COARSER = {"@10": "every 10 iterations", "@100": "every 100", "@1000": "every 1,000", "@boundaries": "task ends only"}
BENCHMARKS = {"methods_class": "class-incremental", "methods_domain": "domain-incremental"}
NONE = "–"


def mean_sd(values: "pd.Series") -> str:
    """ "52.3 ± 5.1" of fractions; the mean alone of one value; a dash without any."""
    percent = 100 * values.dropna().to_numpy()
    if len(percent) == 0:
        return NONE
    return f"{percent.mean():.1f} ± {percent.std(ddof=1):.1f}" if len(percent) > 1 else f"{percent[0]:.1f}"


def reported(claim: str) -> str:
    """The number of the paper that a claim carries, as the tables show it; a dash for ""."""
    if not claim:
        return NONE
    (found,) = [c.reported for c in load_claims(ROOT / "papers" / "stability_gap" / "claims.yaml") if c.id == claim]
    assert found is not None, claim
    return f"{found.value:.1f}" + (f" ± {found.spread:.1f}" if found.spread is not None else "")


def evaluation_period(benchmark: str, claims: dict[str, str], cases: tuple[str, ...], tables: Tables) -> "pd.DataFrame":
    """ER's metrics at each evaluation period, ours beside the paper's. claims: column -> id of the paper's number."""
    import pandas as pd

    ours = in_order(tables, "er", cases)
    ours = {case: rows for case, rows in ours.items() if case in cases} or ours
    lines = []
    for metric in ("acc", "forg", "min_acc", "wc_acc", "wf10", "wf100"):
        for at, words in {"": "every iteration", **COARSER}.items():
            column = metric + at
            if (at and metric not in ("min_acc", "wc_acc")) or not any(column in rows for rows in ours.values()):
                continue  # ACC and FORG look at task ends only; a window counts evaluations, so WF10@10 is not WF10
            line = {"metric": METRICS[metric], "evaluated": words if metric not in ("acc", "forg") else "at any period"}
            line[f"paper, {benchmark}"] = reported(claims.get(column, ""))
            lines.append(line | {f"ours, {case}": mean_sd(rows[column]) for case, rows in ours.items()})
    return pd.DataFrame(lines)


def rotation(tables: Tables) -> "pd.DataFrame":
    """ER's metrics under each rotation angle (Table 2)."""
    import pandas as pd

    known = {(10, "min_acc"): "T2-min10", (80, "min_acc"): "T2-min80"}
    lines = []
    for angle, rows in tables.where(spec="rotation").groupby("stream.degrees"):
        for metric in ("acc", "forg", "min_acc", "wc_acc", "wf10", "wf100"):
            paper = reported(known.get((int(float(str(angle))), metric), ""))
            line = {"degrees": f"{angle:g}", "metric": METRICS[metric], "paper, Rotated-MNIST": paper}
            lines.append(line | {"ours": mean_sd(rows[metric])})
    return pd.DataFrame(lines)


def online(tables: Tables) -> "pd.DataFrame":
    """ER in a single pass (Table 5), with ours over several passes beside it."""
    import pandas as pd

    known = {"forg": "T5-FORG", "min_acc": "T5-min", "wf10": "T5-WF10"}
    rows = tables.where(spec="online")
    lines = [
        {"metric": name, "paper, Split-MNIST online": reported(known.get(m, "")), "ours, online": mean_sd(rows[m])}
        for m, name in METRICS.items()
    ]
    return pd.DataFrame(lines)


def methods(tables: Tables) -> "pd.DataFrame":
    """Every method with every metric, on both kinds of stream."""
    import pandas as pd

    lines = []
    for spec, words in BENCHMARKS.items():
        for case, rows in in_order(tables, spec, ORDER).items():
            line = {"stream": words, "method": case, "seeds": str(rows["seed"].nunique())}
            lines.append(line | {name: mean_sd(rows[metric]) for metric, name in METRICS.items()})
    return pd.DataFrame(lines)


def paired(tables: Tables) -> "pd.DataFrame":
    """Each method less ER, paired by seed: difference in percentage points, bootstrap interval and exact p."""
    import pandas as pd

    lines = []
    for spec, words in BENCHMARKS.items():
        cases = in_order(tables, spec, ORDER)
        replay = cases.pop("ER", None)
        for case, rows in cases.items():
            for metric in ("acc", "forg", "min_acc", "wc_acc", "wf10"):
                if replay is not None:
                    difference = 100 * (rows.set_index("seed")[metric] - replay.set_index("seed")[metric]).dropna()
                    line = {"stream": words, "method": case, "metric": METRICS[metric]}
                    lines.append(line | _compared(difference.to_numpy()))
    return pd.DataFrame(lines)


def _compared(differences: np.ndarray) -> dict[str, str]:
    low, high = bootstrap_interval(differences)
    p, n = paired_permutation_p(differences), len(differences)
    return {
        "less ER (pp)": f"{differences.mean():+.1f}" if n else NONE,
        "95 % interval": NONE if np.isnan(low) else f"[{low:+.1f}, {high:+.1f}]",
        "exact p": NONE if np.isnan(p) else f"{p:.4g}",
        "seeds": str(n),
        "remark": "too few seeds to tell" if enough(n) else "",
    }


_TABLE1 = {"acc": "T1-ACC", "forg": "T1-FORG", "min_acc": "T1-min", "wc_acc": "T1-WC", "wc_acc@1000": "T1-WC1000"}
_MANY, _FEW = ("Split-MiniImagenet", "Split-TinyImageNet"), ("Split-CIFAR10", "Split-MNIST")
AXES = ("optimiser.lr", "learner.alpha", "learner.strength")


def selection(tables: Tables) -> "pd.DataFrame":
    """Every grid point of the selection specs with its mean ACC on held-out training images; the best one is chosen."""
    import pandas as pd

    lines = []
    for (spec, case), rows in tables.runs[tables.runs["spec"].isin(SELECTIONS)].groupby(["spec", "case"]):
        points = _grid(rows)
        for settings, own in points.items():
            mark = "chosen" if settings == _best(points) else ""
            line = {"spec": spec, "method": case, "settings": settings, "ACC": mean_sd(own["acc"])}
            lines.append(line | {"seeds": "+".join(map(str, sorted(own["seed"].unique()))), "": mark})
    return pd.DataFrame(lines)


def flattery(tables: Tables) -> "pd.DataFrame":
    """ACC on test images of the setting chosen on held-out images by other seeds, and of the one that is best there."""
    import pandas as pd

    lines = []
    for spec, by_test in SELECTIONS.items():
        both = tables.runs[tables.runs["spec"].isin([spec, by_test])]
        for case, rows in both.groupby("case"):
            chosen = _best(_grid(rows[rows["spec"] == spec]))
            points = _grid(rows[rows["spec"] == by_test])
            honest, best = (points[name].set_index("seed")["acc"] for name in (chosen, _best(points)))
            low, high = bootstrap_interval((100 * (best - honest)).to_numpy())
            line = {"spec": spec, "method": case, "chosen on held-out images": chosen, "ACC": mean_sd(honest)}
            line |= {"chosen on test images": _best(points), "ACC there": mean_sd(best)}
            flatters = f"{100 * (best - honest).mean():+.1f} [{low:+.1f}, {high:+.1f}]"
            lines.append(line | {"flatters by (pp)": flatters, "seeds": str(len(best))})
    return pd.DataFrame(lines)


def _grid(rows: "pd.DataFrame") -> "dict[str, pd.DataFrame]":
    """The settings of each grid point of a case, in words, and its rows."""
    axes = [axis for axis in AXES if axis in rows and rows[axis].nunique() > 1]
    return {
        ", ".join(f"{axis} {value:g}" for axis, value in zip(axes, point, strict=True)): own
        for point, own in rows.groupby(axes)
    }


def _best(points: "dict[str, pd.DataFrame]") -> str:
    return max(points, key=lambda settings: points[settings]["acc"].mean())


SELECTIONS = {"select_class": "by_test_class", "select_domain": "by_test_domain"}
TABLES: dict[str, Table] = {
    "table1": Table(
        partial(evaluation_period, "Split-MiniImagenet", _TABLE1, _MANY), ("er",),
        "ER on the longest class-incremental stream (paper Table 1), percent.",
    ),
    "table2": Table(rotation, ("rotation",), "ER under rotations between tasks (paper Table 2), percent."),
    "table3": Table(
        partial(evaluation_period, "Split-CIFAR10", {"min_acc": "T3-min"}, _FEW), ("er",),
        "ER at each evaluation period (paper Table 3), percent.",
    ),
    "table5": Table(online, ("online",), "ER in a single pass (paper Table 5), percent."),
    "selection": Table(
        selection, tuple(SELECTIONS),
        "Selection of hyper-parameters: ACC on held-out training images, percent, with seeds that no other spec has.",
    ),
    "flattery": Table(
        flattery, (*SELECTIONS, *SELECTIONS.values()),
        "What selecting on the test images of the reporting seeds would add: ACC on test images, percent, mean ± SD over seeds.",
    ),
    "methods": Table(
        methods, ("methods_class", "methods_domain"), "All methods and metrics, percent, mean ± SD over seeds."
    ),
    "methods_paired": Table(
        paired, ("methods_class", "methods_domain"),
        "Each method less ER, paired by seed, percentage points; exact sign-flip test, two-sided.",
    ),
}  # fmt: skip
