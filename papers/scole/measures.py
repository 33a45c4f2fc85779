"""Measures of SCoLe: per run from its trace, per analysis from its facts, per seed over several runs.

All accuracies are fractions, of all classes alike; "A_t" is the accuracy after t tasks. Definitions that the sheet of the
paper leaves open are ours and stand in README.md.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import Problem
from common.stats import pearson
from papers.scole.traces import Course, course

if TYPE_CHECKING:
    import pandas as pd

POINTS = (1, 5, 10, 50, 100, 200, 500, 1000)
LAGS = (0, 1, 2, 5, 10, 20, 50)


def per_run(trace: dict[str, np.ndarray], accuracy: np.ndarray) -> dict[str, float]:
    """Columns that a run adds to the table, as far as its stream is long enough for them.

    a_T: A_t at that task. late: mean A_t of the last tenth of the tasks. expected: mean A_t of the second half.
    gain: late less A_t once every class could have been seen. slope: of A_t against log10 t between 0.2 and 0.8 of late.
    recency_gap: classes of the last task less all others, second half. retained_L: classes last trained L tasks before.
    first_before, first_late, second_late: the first half of the classes just before half of the tasks and at the end, and
    the second half at the end. jump: mean |A_t - A_(t-1)| of the second half.
    """
    if "trained" not in trace:
        return {}
    run = course(trace, accuracy)
    mean, late = run.mean, run.between(0.9 * run.tasks, run.tasks)
    found = {f"a_{n}": float(mean[run.done == n][0]) for n in POINTS if (run.done == n).any()}
    found["late"] = float(mean[late].mean())
    found["expected"] = float(mean[run.between(run.tasks / 2, run.tasks)].mean())
    if run.tasks > 1:
        every = -(-run.accuracy.shape[1] // max(1, int(run.trained.sum(axis=1).max())))
        if (run.done >= every).any():
            found["gain"] = found["late"] - float(mean[run.done >= every][0])
        found |= _slope(run, found["late"]) | _halves(run, late) | _recency(run)
    return found


def _slope(run: Course, late: float) -> dict[str, float]:
    """Least squares of A_t against log10 t, over the evaluations between 20 % and 80 % of the late accuracy."""
    inside = (run.mean >= 0.2 * late) & (run.mean <= 0.8 * late)
    if inside.sum() < 3:
        return {}
    return {"slope": float(np.polyfit(np.log10(run.done[inside]), run.mean[inside], 1)[0])}


def _halves(run: Course, late: np.ndarray) -> dict[str, float]:
    half = run.accuracy.shape[1] // 2
    if not half:
        return {}
    before = run.accuracy[run.between(0.4 * run.tasks, run.tasks // 2)]
    return {
        "first_before": float(before[:, :half].mean()),
        "second_before": float(before[:, half:].mean()),
        "first_late": float(run.accuracy[late][:, :half].mean()),
        "second_late": float(run.accuracy[late][:, half:].mean()),
    }


def _recency(run: Course) -> dict[str, float]:
    kept = run.between(run.tasks / 2, run.tasks)
    since, accuracy = run.since()[kept], run.accuracy[kept]
    found = {f"retained_{lag}": float(accuracy[since == lag].mean()) for lag in LAGS if (since == lag).any()}
    if (since == 0).any() and (since > 0).any():
        found["recency_gap"] = float(accuracy[since == 0].mean() - accuracy[since != 0].mean())
    if len(accuracy) > 1:
        found["jump"] = float(np.abs(np.diff(accuracy.mean(axis=1))).mean())
    return found


def per_analysis(name: str, facts: "pd.DataFrame") -> dict[str, float]:
    """Columns that an analysis adds to the table: see `_classes` and `_probes`."""
    return _classes(facts) if name == "classes" else _probes(facts)


def _classes(facts: "pd.DataFrame") -> dict[str, float]:
    """spearman: of q and the expected accuracy, over classes. rare, band, frequent: expected accuracy of the classes with
    q below 0.01, in 0.01 to 0.1, above 0.2. above_last: share of the classes with q >= 0.01 that are above the last-task
    baseline."""
    wide = facts.pivot(index="class", columns="quantity", values="value")
    q, expected = wide["q"].to_numpy(), wide["expected"].to_numpy()
    found = {"spearman": pearson(_ranks(q), _ranks(expected))}
    for word, chosen in (("rare", q < 0.01), ("band", (q >= 0.01) & (q <= 0.1)), ("frequent", q > 0.2)):
        if chosen.any():
            found[word] = float(expected[chosen].mean())
    known = q >= 0.01
    if known.any():
        found["above_last"] = float((expected > wide["last task"].to_numpy())[known].mean())
    return found


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, ties at their mean."""
    order = np.sort(values)
    return (np.searchsorted(order, values, "left") + np.searchsorted(order, values, "right")) / 2


def _probes(facts: "pd.DataFrame") -> dict[str, float]:
    """Probe of the trunk and accuracy of the network, untrained and at the end; head_share: how much of the network's rise
    is not explained by the rise of the probe."""
    found: dict[str, float] = {}
    for quantity in ("probe", "accuracy"):
        own = facts[facts["quantity"] == quantity].sort_values("after")["value"].to_numpy()
        found |= {f"{quantity}_first": float(own[0]), f"{quantity}_late": float(own[-3:].mean())}
    rise = found["accuracy_late"] - found["accuracy_first"]
    if rise > 0:
        found["head_share"] = 1 - (found["probe_late"] - found["probe_first"]) / rise
    return found


# --- over the runs of one seed ---------------------------------------------------------------------------------


def one(rows: "pd.DataFrame", column: str, **wanted: Any) -> float:
    """The value of a column in the one run with those settings ('__' stands for '.'). Errors: Problem when there is no such."""
    for key, value in wanted.items():
        name = key.replace("__", ".")
        rows = rows[rows[name].isna() if value is None else rows[name] == value]
    values: Any = rows[column].dropna().unique() if column in rows else []
    if len(values) != 1:
        raise Problem(f"{len(values)} values of {column} with {wanted}, where one is needed")
    return float(values[0])


def masked(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The runs with a mask."""
    return rows[rows["learner.mask"] != "none"]


def plain(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The runs without."""
    return rows[rows["learner.mask"] == "none"]


def normalised(column: str) -> Any:
    """A measure: that column of a run without mask, over the accuracy of all classes at once with the same optimiser (C1, C5)."""

    def measure(rows: "pd.DataFrame") -> float:
        return one(plain(rows), column, spec="accumulation") / one(rows, "late", spec="iid")

    return measure


def mask_gain_early(rows: "pd.DataFrame") -> float:
    """A_10 with mask less A_10 without (C3)."""
    return one(masked(rows), "a_10") - one(plain(rows), "a_10")


def mask_gain_late(rows: "pd.DataFrame") -> float:
    """Late accuracy with mask less without (C3, at saturation)."""
    return one(masked(rows), "late") - one(plain(rows), "late")


def momentum_loss(rows: "pd.DataFrame") -> float:
    """Late accuracy without momentum less with it, at equal rate, with the mask (C4)."""
    return one(masked(rows), "late", optimiser__momentum=0.0) - one(masked(rows), "late", optimiser__momentum=0.9)


def momentum_loss_plain(rows: "pd.DataFrame") -> float:
    """The same without the mask (C4)."""
    return one(plain(rows), "late", optimiser__momentum=0.0) - one(plain(rows), "late", optimiser__momentum=0.9)


def high_rate_mask_gain(rows: "pd.DataFrame") -> float:
    """Late accuracy of Adam at 1e-2 with mask less without (C5)."""
    return one(masked(rows), "late") - one(plain(rows), "late")


def cycle_short(rows: "pd.DataFrame") -> float:
    """A_5 of five disjoint tasks without mask: the last task's classes alone give 0.2 (C2)."""
    return one(plain(rows), "a_5")


def cycle_long(rows: "pd.DataFrame") -> float:
    """A_200 of the repeated five tasks without mask (C2)."""
    return one(plain(rows), "a_200")


def cycle_masked(rows: "pd.DataFrame") -> float:
    """Late accuracy of the repeated five tasks, with mask less without (finding)."""
    return one(masked(rows), "late") - one(plain(rows), "late")


def rises(rows: "pd.DataFrame", axis: str, column: str) -> float:
    """The smallest step of a column from one value of an axis to the next; without the mask where both are there."""
    ordered = plain(rows).sort_values(axis) if (rows["learner.mask"] == "none").any() else rows.sort_values(axis)
    if ordered[axis].nunique() < 2:
        raise Problem(f"fewer than two values of {axis}")
    return float(np.diff(ordered.groupby(axis)[column].mean().to_numpy()).min())


def rises_with_frequency(rows: "pd.DataFrame") -> float:
    """The smallest rise of the normalised expected accuracy from one world to the next smaller one, without mask (C6)."""
    worlds = sorted(rows["stream.classes"].unique())
    found = [
        one(plain(rows), "expected", spec="balanced", stream__classes=c)
        / one(rows, "late", spec="balanced_iid", stream__classes=c)
        for c in worlds
    ]
    return float((-np.diff(found)).min())


def rises_with_classes_per_task(rows: "pd.DataFrame") -> float:
    """The smallest rise of A_50 from one number of classes per task to the next (C9)."""
    return rises(rows, "stream.classes_per_task", "a_50")


def more_epochs(rows: "pd.DataFrame") -> float:
    """Late accuracy with the most epochs a task less that with one (C10)."""
    ordered = rows.sort_values("budget.epochs")
    return float(ordered["late"].iloc[-1] - ordered["late"].iloc[0])


def smallest_gain(rows: "pd.DataFrame") -> float:
    """The smallest gain over the networks (C11)."""
    return float(rows["gain"].min())


def forgotten(rows: "pd.DataFrame") -> float:
    """Accuracy that the classes lost which never came again, without mask (C12)."""
    return one(plain(rows), "second_before") - one(plain(rows), "second_late")


def forgotten_masked(rows: "pd.DataFrame") -> float:
    """The same with the mask (C12)."""
    return one(masked(rows), "second_before") - one(masked(rows), "second_late")


def pairs_missing(rows: "pd.DataFrame") -> float:
    """Late accuracy with all pairs less that with a fifth of them, with the mask (C13)."""
    own = masked(rows)
    return one(own, "late", stream__combinations=1.0) - one(own, "late", stream__combinations=0.2)


def corruption_keeps(rows: "pd.DataFrame") -> float:
    """Late accuracy under a random corruption a task over that on clean images (C14)."""
    return one(rows, "late", stream__corruption="random") / one(rows, "late", stream__corruption="none")


def width_rises(rows: "pd.DataFrame") -> float:
    """Late accuracy of the widest network less that of the narrowest (C15)."""
    axis = "model.hidden" if rows["model.hidden"].notna().any() else "model.width"
    width = rows[axis].astype(str).str.strip("[]").astype(float)
    return float(rows["late"][width == width.max()].iloc[0] - rows["late"][width == width.min()].iloc[0])


def state_carried(rows: "pd.DataFrame") -> float:
    """A_100 of Adam with its state carried over tasks less that with the state begun anew, without mask (C16)."""
    return one(plain(rows), "a_100", optimiser__fresh=False) - one(plain(rows), "a_100", optimiser__fresh=True)


def replay_lifts_band(rows: "pd.DataFrame") -> float:
    """Expected accuracy of the classes in the band with frequency replay less without (C8)."""
    return one(rows, "band", case="frequency") - one(rows, "band", case="none")


def replay_leaves_rare(rows: "pd.DataFrame") -> float:
    """The same for classes below the band, which are never replayed (C8)."""
    return one(rows, "rare", case="frequency") - one(rows, "rare", case="none")


MEASURES = {
    function.__name__: function
    for function in (
        mask_gain_early, mask_gain_late, momentum_loss, momentum_loss_plain, high_rate_mask_gain, cycle_short, cycle_long,
        cycle_masked, rises_with_frequency, rises_with_classes_per_task, more_epochs, smallest_gain, forgotten, forgotten_masked,
        pairs_missing, corruption_keeps, width_rises, state_carried, replay_lifts_band, replay_leaves_rare,
    )
} | {f"normalised_{column}": normalised(column) for column in ("a_100", "a_500", "late")}  # fmt: skip
