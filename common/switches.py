"""What happens to each old task at each task switch: how deep it falls, when, and how far it comes back.

Arrays A, step and ends as in common/metrics.py. Terms: "pre" accuracy right before the switch, "min" its
minimum over the next task, "post" its value at the end of that next task; gap = pre - min,
transient = post - min.
"""

from typing import Any

import numpy as np

from common.metrics import Floats, Ints


def switches(A: Floats, step: Ints, ends: Ints) -> list[dict[str, Any]]:
    """One dictionary for each old task and switch, in order of the switches.

    A switch whose next task has not ended is left out. Keys:
    task        evaluated (old) task, 0-based
    switch      s: the change from learning task s to s + 1 (task <= s)
    pre, min, post, gap, transient      fractions
    min_iteration       updates after the switch at which the minimum is first reached
    rec50, rec90        updates after the switch at which, from the minimum on, at least 50 / 90 % of the gap
                        is regained for the first time; None when never within the next task, or without a gap
    """
    found = []
    for switch in range(min(A.shape[1], len(ends)) - 1):
        before = int(np.searchsorted(step, ends[switch], side="right")) - 1
        last = int(np.searchsorted(step, ends[switch + 1], side="right")) - 1
        ended = last > before >= 0 and step[last] == ends[switch + 1]
        if not ended:
            continue
        iterations = step[before + 1 : last + 1] - ends[switch]
        for task in range(switch + 1):
            if not np.isnan(A[before, task]):
                curve = A[before + 1 : last + 1, task]
                dip = _dip(float(A[before, task]), curve, iterations)
                found.append({"task": task, "switch": switch, **dip})
    return found


def _dip(pre: float, curve: Floats, iterations: Ints) -> dict[str, Any]:
    """Measures of one old task in one next task: accuracy `curve` [n], `iterations` [n] after the switch."""
    at = int(np.argmin(curve))
    low, post = float(curve[at]), float(curve[-1])
    gap = pre - low
    recovery: dict[str, int | None] = {}
    for percent in (50, 90):
        # 1e-12: accuracies are ratios of counts, so equality is meant, and rounding must not hide it
        regained = np.flatnonzero(curve[at:] >= low + gap * percent / 100 - 1e-12)
        reached = gap > 0 and len(regained) > 0
        recovery[f"rec{percent}"] = int(iterations[at + regained[0]]) if reached else None
    return {
        "pre": pre, "min": low, "min_iteration": int(iterations[at]), "post": post,
        "gap": gap, "transient": post - low, **recovery,
    }  # fmt: skip
