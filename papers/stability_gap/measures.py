"""Measures that only this paper's claims need: per run from its trace, and per seed over several runs.

All accuracies are fractions. "Old task" and "switch" as in common/switches.py.
"""

from typing import TYPE_CHECKING

import numpy as np

from common import metrics
from common.errors import Problem
from common.stats import pearson
from common.switches import switches

if TYPE_CHECKING:
    import pandas as pd

SUBSETS = (100, 300, 1000)  # evaluation samples per task, for claim C13
AFTER = 50  # updates after a switch within which the stability gradient is expected to peak


def per_run(trace: dict[str, np.ndarray], accuracy: np.ndarray) -> dict[str, float]:
    """Columns that a run adds to the table: the gap at its switches, coarse and small evaluations, gradient norms.

    gap, transient: means over all (old task, switch) pairs of pre - min and of post - min. transient_share: sum of
    transient over sum of gap. lost: mean of pre - post. gap_first: gap of the first task at the first switch.
    deepest: the largest, over old tasks, of the lowest accuracy a task ever touches while others are learned.
    gap_of_switch: what a switch adds to the gap that noise alone shows, see there.
    """
    step, ends = trace["step"], trace["ends"]
    dips = switches(accuracy, step, ends)
    if not dips:
        return {}
    gap = np.array([dip["gap"] for dip in dips])
    transient = np.array([dip["transient"] for dip in dips])
    lowest = [min(dip["min"] for dip in dips if dip["task"] == task) for task in {dip["task"] for dip in dips}]
    found = {
        "gap": gap.mean(),
        "transient": transient.mean(),
        "transient_share": transient.sum() / gap.sum() if gap.sum() > 0 else np.nan,
        "lost": (gap - transient).mean(),
        "gap_first": dips[0]["gap"],
        "deepest": max(lowest),
        "gap_of_switch": gap_of_switch(accuracy, step, ends),
    }
    return {k: float(v) for k, v in (found | _coarse(trace, accuracy) | _subsets(trace) | _gradients(trace)).items()}


def gap_of_switch(accuracy: np.ndarray, step: np.ndarray, ends: np.ndarray) -> float:
    """Mean over (old task, switch) pairs of pre - min in the first half of the next task, less the same in its second half.

    The minimum of a noisy curve lies below its start even where nothing happens; the second half, in which nothing
    switches, shows by how much. NaN where a half has no evaluation.
    """
    early: list[float] = []
    late: list[float] = []
    for s in range(len(ends) - 1):
        middle = (ends[s] + ends[s + 1]) // 2
        for falls, begin, end in ((early, ends[s], middle), (late, middle, ends[s + 1])):
            inside = (step > begin) & (step <= end)
            if not inside.any():
                return np.nan
            start = int(np.searchsorted(step, begin, side="right")) - 1
            falls += list(accuracy[start, : s + 1] - accuracy[inside, : s + 1].min(axis=0))
    return float(np.mean(early) - np.mean(late)) if early else np.nan


def _coarse(trace: dict[str, np.ndarray], accuracy: np.ndarray) -> dict[str, float]:
    """min-ACC and WC-ACC when only every thousandth update is evaluated (Table 1)."""
    kept = metrics.thin(trace["step"], trace["ends"], 1000)
    rows, step, ends = accuracy[kept], trace["step"][kept], trace["ends"]
    return {"min_acc@1000": metrics.min_acc(rows, step, ends), "wc_acc@1000": metrics.wc_acc(rows, step, ends)}


def _subsets(trace: dict[str, np.ndarray]) -> dict[str, float]:
    """min-ACC and WC-ACC from the first n evaluation samples of each task (Table 4), where there are more than n."""
    found = {}
    for n in SUBSETS:
        if np.diff(trace["offsets"]).min() > n:
            few = metrics.accuracy_matrix(trace["bits"], trace["offsets"], trace["seen"], samples=n)
            found[f"min_acc#{n}"] = metrics.min_acc(few, trace["step"], trace["ends"])
            found[f"wc_acc#{n}"] = metrics.wc_acc(few, trace["step"], trace["ends"])
    return found


def _gradients(trace: dict[str, np.ndarray]) -> dict[str, float]:
    """Norm of the stability gradient at the first update after a switch, mean over switches.

    stability_ratio: over the norm of the plasticity gradient of that update. stability_start: over its own peak within
    the next 50 updates (NaN when it stays 0).
    """
    if "s_grad_stability" not in trace:
        return {}
    stability, plasticity = trace["s_grad_stability"], trace["s_grad_plasticity"]
    firsts = trace["ends"][:-1]
    peaks = np.array([np.nanmax(stability[first : first + AFTER]) for first in firsts])
    with np.errstate(divide="ignore", invalid="ignore"):
        start = np.where(peaks > 0, stability[firsts] / peaks, np.nan)
    return {"stability_ratio": np.mean(stability[firsts] / plasticity[firsts]), "stability_start": np.mean(start)}


def _case(rows: "pd.DataFrame", case: str) -> "pd.Series":
    """The one run of a case. Errors: Problem when it is missing."""
    found = rows[rows["case"] == case]
    if len(found) != 1:
        raise Problem(f"{len(found)} runs of {case}, where one is needed")
    return found.iloc[0]


def _by(rows: "pd.DataFrame", axis: str, values: tuple[float, ...]) -> "pd.DataFrame":
    """The rows in the order of an axis. Errors: Problem when a value is missing."""
    ordered = rows.sort_values(axis)
    if tuple(ordered[axis]) != values:
        raise Problem(f"runs at {axis} = {list(ordered[axis])}, where {list(values)} are needed")
    return ordered


ANGLES = (10.0, 30.0, 60.0, 80.0)


def min_acc_falls_with_angle(rows: "pd.DataFrame") -> float:
    """The smallest fall of min-ACC from one angle to the next (C6)."""
    return float((-np.diff(_by(rows, "stream.degrees", ANGLES)["min_acc"])).min())


def wf10_rises_with_angle(rows: "pd.DataFrame") -> float:
    """The smallest rise of WF^10 from one angle to the next (C6)."""
    return float(np.diff(_by(rows, "stream.degrees", ANGLES)["wf10"]).min())


def min_acc_against_acc_over_angles(rows: "pd.DataFrame") -> float:
    """Fall of min-ACC from 10 to 80 degrees less twice the fall of ACC (C6)."""
    ordered = _by(rows, "stream.degrees", ANGLES)
    fall = {name: ordered[name].iloc[0] - ordered[name].iloc[-1] for name in ("min_acc", "acc")}
    return float(fall["min_acc"] - 2 * fall["acc"])


def acc_fall_over_angles(rows: "pd.DataFrame") -> float:
    """ACC at 10 degrees less ACC at 80 degrees (Table 2)."""
    ordered = _by(rows, "stream.degrees", ANGLES)
    return float(ordered["acc"].iloc[0] - ordered["acc"].iloc[-1])


def gem_over_er(rows: "pd.DataFrame") -> float:
    """min-ACC of GEM less that of ER (C7)."""
    return float(_case(rows, "GEM")["min_acc"] - _case(rows, "ER")["min_acc"])


KEPT = 0.03  # a method must forget this much less than fine-tuning before its dip means anything (C8)


def _recovers(rows: "pd.DataFrame", case: str) -> float:
    """Mean post - min of a method that forgets clearly less than fine-tuning; NaN when it does not."""
    method, plain = _case(rows, case), _case(rows, "Finetune")
    return float(method["transient"]) if plain["forg"] - method["forg"] >= KEPT else np.nan


def ewc_recovers(rows: "pd.DataFrame") -> float:
    """Recovery of EWC after its dips (C8)."""
    return _recovers(rows, "EWC")


def si_recovers(rows: "pd.DataFrame") -> float:
    """Recovery of SI after its dips (C8)."""
    return _recovers(rows, "SI")


def lwf_recovers(rows: "pd.DataFrame") -> float:
    """Recovery of LwF after its dips (C8)."""
    return _recovers(rows, "LwF")


def wf10_less_twice_forg(rows: "pd.DataFrame") -> float:
    """WF^10 less twice FORG of the one online run: above 0 where WF^10 is more than twice FORG, or nothing is forgotten
    in the end (C9)."""
    (row,) = rows.to_dict("records")
    return float(row["wf10"] - 2 * row["forg"])


def forg_wf10_correlation(rows: "pd.DataFrame") -> float:
    """Pearson correlation of FORG and WF^10 over the grid of ER's hyper-parameters (C12)."""
    kept = rows.dropna(subset=["forg", "wf10"])
    if len(kept) < 5:
        raise Problem(f"{len(kept)} grid points, where at least 5 are needed")
    return pearson(kept["forg"].to_numpy(), kept["wf10"].to_numpy())


def subset_error(rows: "pd.DataFrame") -> float:
    """|WC-ACC from 1,000 samples a task - WC-ACC from all| (C13)."""
    (row,) = rows.to_dict("records")
    if np.isnan(row.get("wc_acc#1000", np.nan)):
        raise Problem("no task has more than 1,000 evaluation samples")
    return float(abs(row["wc_acc#1000"] - row["wc_acc"]))


def momentum_effect(rows: "pd.DataFrame") -> float:
    """Mean gap with momentum 0.9 less the gap without (follow-up)."""
    ordered = _by(rows, "optimiser.momentum", (0.0, 0.9))
    return float(ordered["gap"].iloc[1] - ordered["gap"].iloc[0])


MEASURES = {
    function.__name__: function
    for function in (
        min_acc_falls_with_angle,
        wf10_rises_with_angle,
        min_acc_against_acc_over_angles,
        acc_fall_over_angles,
        gem_over_er,
        ewc_recovers,
        si_recovers,
        lwf_recovers,
        wf10_less_twice_forg,
        forg_wf10_correlation,
        subset_error,
        momentum_effect,
    )
}
