"""Measures of this paper: A_N and F_N as its tables have them, and what its claims compare.

R[t, i]: accuracy on task i after task t. All are fractions. A run of one task (joint training) has A_N and no F_N.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import Problem

if TYPE_CHECKING:
    import pandas as pd

Floats = np.ndarray


def per_run(trace: dict[str, np.ndarray], accuracy: np.ndarray) -> dict[str, float]:
    """a_n, f_n, and beside them f_max, caa (mean of A_t), new (accuracy on a task when it was just learned). NaN: there is
    no such task, or it was not measured."""
    rows = np.searchsorted(trace["step"], trace["ends"], side="right") - 1
    return of_matrix(accuracy[rows])


def of_matrix(R: Floats) -> dict[str, float]:
    """The measures of R [N, N] (NaN above the diagonal).

    F_N is the mean one-step drop of the official code, 1/(N-1) sum_{t=2..N} 1/(t-1) sum_{i<t} (R[t-1,i] - R[t,i]); it may
    be negative. f_max is the form that the paper's text points to, 1/(N-1) sum_{i<N} max_{t<N} (R[t,i] - R[N,i]).
    """
    n = len(R)
    averages = [R[t, : t + 1].mean() for t in range(n)]
    drops = [(R[t - 1, :t] - R[t, :t]).mean() for t in range(1, n)]
    most = [np.nanmax(R[: n - 1, i]) - R[-1, i] for i in range(n - 1)]
    return {
        "a_n": float(averages[-1]),
        "f_n": float(np.mean(drops)) if drops else np.nan,
        "f_max": float(np.mean(most)) if most else np.nan,
        "caa": float(np.mean(averages)),
        "new": float(np.diag(R).mean()),
    }


def per_analysis(name: str, facts: "pd.DataFrame") -> dict[str, float]:
    """Columns of the analysis `last`: means over tasks of what it says of tasks, the rest as it is."""
    if name != "last":
        return {}
    whole = facts[facts["quantity"].isin(ONCE)]
    found = {ONCE[q]: float(v) for q, v in zip(whole["quantity"], whole["value"], strict=True)}
    found["local"] = float(facts[facts["quantity"] == "local accuracy"]["value"].mean())
    found["mac_ratio"] = found["macs"] / found.pop("plain_macs")
    found["trained_share"] = found["trained"] / found.pop("parameters")
    choices = facts[facts["quantity"] == "choice"]
    if len(choices):
        shares = choices.pivot_table(index="task", columns="other", values="value", fill_value=0).to_numpy()
        found["prompts_used"] = float((shares.sum(0) > 0).mean())
        if shares.shape[0] == shares.shape[1]:
            found["right_prompt"] = float(np.diag(shares).mean())
    return found


ONCE = {
    "trained parameters": "trained",
    "all parameters": "parameters",
    "MACs": "macs",
    "MACs of the plain network": "plain_macs",
    "key gradient": "key_gradient",
    "prompt gradient": "prompt_gradient",
    "moved": "moved",
}


def value(rows: "pd.DataFrame", case: str, column: str = "a_n", spec: str | None = None) -> float:
    """A column of the one run of a case (of a spec), NaN where it could not be measured. Errors: Problem when it is missing."""
    found = rows[(rows["case"] == case) & ((rows["spec"] == spec) if spec else True)].drop_duplicates("run_id")
    if len(found) != 1:
        raise Problem(f"{len(found)} runs of {case}{f' in {spec}' if spec else ''} with {column}, where one is needed")
    return float(found.iloc[0][column])


def gain(one: str, other: str, column: str, rows: "pd.DataFrame") -> float:
    """A column of one case less that of another."""
    return value(rows, one, column) - value(rows, other, column)


def distance(one: str, other: str, column: str, rows: "pd.DataFrame") -> float:
    """How far two cases are apart in a column."""
    return abs(gain(one, other, column, rows))


def by_tasks(rows: "pd.DataFrame") -> list[float]:
    """Gain of CODA-P over ER in A_N, fewest tasks first."""
    order = rows.groupby("spec")["stream.tasks"].max().sort_values().index
    gains = [gain("CODA-P", "ER", "a_n", rows[rows["spec"] == spec]) for spec in order]
    if len(gains) < 2:
        raise Problem("CODA-P and ER are needed at two numbers of tasks or more")
    return gains


def replay_gain_grows(rows: "pd.DataFrame") -> float:
    """Smallest rise of CODA-P's gain over ER from one number of tasks to the next (C4)."""
    return float(np.diff(by_tasks(rows)).min())


def replay_gain(rows: "pd.DataFrame") -> float:
    """Smallest gain of CODA-P over ER over the numbers of tasks (C4)."""
    return float(np.min(by_tasks(rows)))


def swept(column: str, rows: "pd.DataFrame", what: str = "a_n") -> tuple[Floats, Floats]:
    """(settings, values) over one swept setting, ascending. Errors: Problem with fewer than two."""
    means = rows.drop_duplicates("run_id").groupby(column)[what].mean().sort_index()
    if len(means) < 2:
        raise Problem(f"{column} has fewer than two values, so {what} cannot be compared")
    return means.index.to_numpy(dtype=float), means.to_numpy()


def last_less_first(column: str, rows: "pd.DataFrame") -> float:
    """A_N at the largest value of a setting less that at the smallest."""
    _, found = swept(column, rows)
    return float(found[-1] - found[0])


def long_range(rows: "pd.DataFrame") -> float:
    """Largest less smallest A_N over prompt lengths of at least 8 (C6)."""
    lengths, found = swept("learner.length", rows)
    kept = found[lengths >= 8]
    if len(kept) < 2:
        raise Problem("fewer than two lengths of at least 8")
    return float(np.ptp(kept))


def orthogonality_most(rows: "pd.DataFrame") -> float:
    """How much more A_N falls without orthogonality than without attention or freezing, whichever is more (C7)."""
    falls = {case: gain("CODA-P", case, "a_n", rows) for case in ("no attention", "no freezing", "no orthogonality")}
    return falls.pop("no orthogonality") - float(np.max(list(falls.values())))


def least_key_slope(rows: "pd.DataFrame") -> float:
    """The smallest key gradient of the runs (C11)."""
    return float(rows["key_gradient"].min(skipna=False))


def largest_key_slope(rows: "pd.DataFrame") -> float:
    """The largest key gradient of the runs (C11)."""
    return float(rows["key_gradient"].max(skipna=False))


def mac_error(rows: "pd.DataFrame") -> float:
    """Distance of CODA-P's cost from two forward passes, as a ratio (C13)."""
    return abs(value(rows, "CODA-P", "mac_ratio") - 2)


MEASURES: dict[str, Callable[[Any], float]] = {
    "coda_dual": partial(gain, "CODA-P", "DualPrompt", "a_n"),
    "small_dual": partial(gain, "CODA-P-S", "DualPrompt", "a_n"),
    "forgetting_apart": partial(distance, "CODA-P", "DualPrompt", "f_n"),
    "forgetting_gain": partial(gain, "CODA-P", "DualPrompt", "f_n"),
    "coda_er": partial(gain, "CODA-P", "ER", "a_n"),
    "replay_gain": replay_gain,
    "replay_gain_grows": replay_gain_grows,
    "components_gain": partial(last_less_first, "learner.components"),
    "pool_gain": partial(last_less_first, "learner.pool"),
    "length_range": long_range,
    "attention_helps": partial(gain, "CODA-P", "no attention", "a_n"),
    "freezing_helps": partial(gain, "CODA-P", "no freezing", "a_n"),
    "freezing_forgets": partial(gain, "no freezing", "CODA-P", "f_n"),
    "orthogonality_helps": partial(gain, "CODA-P", "no orthogonality", "a_n"),
    "orthogonality_most": orthogonality_most,
    "masking_helps": partial(gain, "FT++", "FT", "a_n"),
    "deep_dual": partial(distance, "Deep L2P++", "DualPrompt", "a_n"),
    "lwf_coda": partial(gain, "LwF.MC", "CODA-P", "a_n"),
    "joint_coda": partial(gain, "joint", "CODA-P", "a_n"),
    "coda_linear": partial(gain, "CODA-P", "linear probe", "a_n"),
    "coda_mean": partial(gain, "CODA-P", "class mean", "a_n"),
    "plasticity": partial(gain, "CODA-P", "DualPrompt", "new"),
    "plasticity_linear": partial(gain, "CODA-P", "linear probe", "new"),
    "repaired_keys": partial(gain, "L2P++ repaired", "L2P++", "a_n"),
    "least_key_slope": least_key_slope,
    "largest_key_slope": largest_key_slope,
    "mac_error": mac_error,
}
