"""Measures of this paper: scores of new and of pre-training tasks, what is kept and what is forgotten.

A score is the share of episodes solved at any step ("ever"); of DMControl, which knows no success, the return between a random
policy's (0) and the data's mean (1). Columns that end in _last count an episode as solved by its last step, as the paper's code
does. "New" are the tasks that a run learns, "old" all others that it plays: those of pre-training, in sequences and in `single`.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import Problem

if TYPE_CHECKING:
    import pandas as pd

L2P = ("L2P-PT", "L2P-PreT", "L2P-Pv2")


def per_run(trace: dict[str, np.ndarray], accuracy: np.ndarray) -> dict[str, float]:
    """new, old: mean scores at the end; new_before, old_before: before the first update; retention: old / old_before; learned:
    score of a task when it was just learned; forgot: mean of that less the score at the end; modulated_new, modulated_old:
    share of modulated steps at the end. acc: mean over all tasks. NaN: there are no such tasks, or nothing to keep."""
    parts = np.diff(trace["offsets"])
    trained = np.unpackbits(trace["trained"], axis=1)[:, : len(parts)].astype(bool)  # [T, P]
    new = trained.any(0)
    found: dict[str, float] = {}
    for ending, values in (("", "score"), ("_last", "last")):
        score = means(trace, f"v_{values}")
        found |= {f"{name}{ending}": value for name, value in scores(score, trace, trained).items()}
    found["acc"] = float(means(trace, "v_score")[-1].mean())
    modulated = means(trace, "v_modulated")[-1]
    found["modulated_new"] = _mean(modulated[new])
    found["modulated_old"] = _mean(modulated[~new])
    return found


def means(trace: dict[str, np.ndarray], name: str) -> np.ndarray:
    """float [E, P]: mean over each part's episodes."""
    sums = np.add.reduceat(trace[name].astype(np.float64), trace["offsets"][:-1], axis=1)
    return np.asarray(sums / np.diff(trace["offsets"]))


def scores(score: np.ndarray, trace: dict[str, np.ndarray], trained: np.ndarray) -> dict[str, float]:
    """The measures of score [E, P], with trained [T, P] the parts that each task learns."""
    new = trained.any(0)
    rows = np.searchsorted(trace["step"], trace["ends"], side="right") - 1  # at the end of each task
    just = np.array([score[row, own].mean() for row, own in zip(rows, trained, strict=True) if own.any()])
    left = np.array([score[-1, own].mean() for own in trained if own.any()])
    before, after = _mean(score[0, ~new]), _mean(score[-1, ~new])
    return {
        "new": _mean(score[-1, new]),
        "new_before": _mean(score[0, new]),
        "old": after,
        "old_before": before,
        "retention": after / before if before else np.nan,
        "learned": _mean(just),
        "forgot": _mean(just[:-1] - left[:-1]),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else np.nan


def per_analysis(name: str, facts: "pd.DataFrame") -> dict[str, float]:
    """Of a collection: tasks, and the share of Meta-World's episodes that are solved. Of the analysis `last`: moved, share."""
    if name == "collect":
        solvable = facts[facts["steps"] < 1000]
        return {"tasks": float(facts["task"].nunique()), "solved": float(solvable["ever"].mean())}
    once = facts[facts["quantity"].isin(("moved", "active_share"))]
    return {quantity: float(value) for quantity, value in zip(once["quantity"], once["value"], strict=True)}


def value(rows: "pd.DataFrame", case: str, column: str) -> float:
    """Mean of a column over the runs of a case (one run, or one for each new task); NaN where one of them could not be
    measured. Errors: Problem when there is none."""
    found = rows[rows["case"] == case].drop_duplicates("run_id")[column]
    if not len(found):
        raise Problem(f"{len(found)} runs of {case} with {column}, where one is needed")
    return float(found.mean(skipna=False))


def gain(one: str, other: str, column: str, rows: "pd.DataFrame", factor: float = 1.0) -> float:
    """A column of one case less `factor` times that of another."""
    return value(rows, one, column) - factor * value(rows, other, column)


def gain_over_best(one: str, others: tuple[str, ...], rows: "pd.DataFrame") -> float:
    """Score on new tasks of one case less that of the best of others."""
    return value(rows, one, "new") - float(np.max([value(rows, other, "new") for other in others]))


def untrained_times(rows: "pd.DataFrame") -> float:
    """Score on the pre-training tasks less five times that of the untrained policy."""
    return float((rows["new"] - 5 * rows["new_before"]).mean(skipna=False))


def trade_off(column: str, rows: "pd.DataFrame") -> float:
    """The smaller gain of FT and LoRA over prompt tuning in a column (of retention: of prompt tuning over them)."""
    turn = 1 if column == "new" else -1
    return float(np.min([turn * gain(method, "prompt tuning", column, rows) for method in ("FT", "LoRA")]))


MEASURES: dict[str, Callable[[Any], float]] = {
    "untrained_times": untrained_times,
    "learns_more": partial(trade_off, "new"),
    "keeps_less": partial(trade_off, "retention"),
    "over_l2p": partial(gain_over_best, "L2M", L2P),
    "twice_ewc": partial(gain, "L2M", "EWC", "new", factor=2),
    "twice_l2": partial(gain, "L2M", "L2", "new", factor=2),
    "oracle_gap": partial(gain, "L2M-oracle", "L2M", "new"),
    "keys_keep": partial(gain, "L2M", "L2M without old keys", "retention"),
    "keys_cost": partial(gain, "L2M without old keys", "L2M", "new"),
    "over_ft": partial(gain, "L2M", "FT", "new"),
    "joint_over_ft": partial(gain, "joint", "FT", "old"),
    "penalty_helps": partial(gain, "L2M", "no count penalty", "new"),
    "fresh_helps": partial(gain, "L2M", "optimiser kept over switches", "new"),
    "pace_helps": partial(gain, "L2M", "keys at the common pace", "new"),
}
