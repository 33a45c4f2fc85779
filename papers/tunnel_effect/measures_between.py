"""Measures of this paper's claims that compare runs of one seed: widths, depths, data, shortened networks, variables.

A measure is NaN where a number that it needs could not be measured in a run; the claim then fails.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from common.errors import Problem

if TYPE_CHECKING:
    import pandas as pd


def start_range(rows: "pd.DataFrame") -> float:
    """Largest less smallest s95 over the depths of one seed (Fig. 9). Errors: Problem with fewer than two depths."""
    return float(np.ptp(_by(rows, "case")))


def retained_rises(rows: "pd.DataFrame") -> float:
    """Smallest step of o(p) / o(max) from one number of training classes to the next (Fig. 8). Errors: Problem."""
    return float(np.diff(_by(rows, "stream.count", "ood_retained")).min())


def start_rises(rows: "pd.DataFrame") -> float:
    """Smallest step of s95 from one number of training classes to the next (Table 3). Errors: Problem."""
    return float(np.diff(_by(rows, "stream.count")).min())


def width_rise(rows: "pd.DataFrame") -> float:
    """Largest step of VGG-19's s95 from one width to the next (Table 2). Errors: Problem."""
    ours = rows[(rows["model.name"] == "vgg") & (rows["model.depth"] == 19)]
    return float(np.diff(_by(ours, "model.width")).max())


def _by(rows: "pd.DataFrame", setting: str, column: str = "s95") -> np.ndarray:
    """Mean of a column by a setting, in its order. Errors: Problem with fewer than two values of the setting."""
    found = _means(rows, setting, column)
    if len(found) < 2:
        raise Problem(f"there are runs of fewer than two values of {setting}, so {column} cannot be compared")
    return found.to_numpy(dtype=float)


def _means(rows: "pd.DataFrame", setting: str, column: str) -> "pd.Series":
    """Mean of a column by a setting; NaN where it could not be measured in one of the runs (s95: never reached)."""
    return rows.groupby(setting)[column].agg(lambda values: values.mean(skipna=False)).sort_index()


def _shortened(rows: "pd.DataFrame") -> "tuple[pd.DataFrame, float]":
    """(runs of Fig. 10 by their number of convolutions, the whole network's s95 on task 1: NaN when never reached).

    Errors: Problem when either is missing.
    """
    nets = rows[rows["spec"] == "shortened"].copy()
    nets["convs"] = nets["model.convs"].fillna(nets["model.depth"] - 3)
    swaps = rows[rows["spec"] == "swap"]
    if nets.empty or swaps.empty:
        raise Problem("runs of shortened networks, or the start of the whole network's tunnel, are missing")
    return nets.set_index("convs").sort_index(), float(swaps["swap_s95"].iloc[0])


def _shortened_to_extractor(rows: "pd.DataFrame", column: str) -> tuple[float, float]:
    """That column of the shortest network that is at least as long as the extractor, and of the whole one."""
    nets, s95 = _shortened(rows)
    if np.isnan(s95):
        return np.nan, np.nan
    long_enough = nets[nets.index >= s95]
    return float(long_enough[column].iloc[0]), float(nets[column].iloc[-1])


def shortened_accuracy(rows: "pd.DataFrame") -> float:
    """Accuracy on both tasks, each just learned, of a network as long as the extractor less the whole one's (Fig. 10)."""
    short, whole = _shortened_to_extractor(rows, "learned")
    return short - whole


def shortened_forgetting(rows: "pd.DataFrame") -> float:
    """Forgetting of the whole network less that of one as long as the extractor (Fig. 10)."""
    short, whole = _shortened_to_extractor(rows, "forg")
    return whole - short


def too_short_loss(rows: "pd.DataFrame") -> float:
    """Accuracy that the longest network shorter than the extractor lacks (Fig. 10). Errors: Problem when there is none."""
    nets, s95 = _shortened(rows)
    if np.isnan(s95):
        return np.nan
    shorter = nets[nets.index < s95]
    if shorter.empty:
        raise Problem(f"no network is shorter than the extractor, which ends at layer {s95:.0f}")
    return float(nets["learned"].iloc[-1] - shorter["learned"].iloc[-1])


def retained_gain(case: str, rows: "pd.DataFrame") -> float:
    """Rise of o(p) / o(max) from the plain case to another one (Harun et al.). Errors: Problem when one is missing."""
    retained = _means(rows, "case", "ood_retained")
    if not {"plain", case} <= set(retained.index):
        raise Problem(f"runs of the case plain or {case} are missing")
    return float(retained[case] - retained["plain"])


def classes_gain(rows: "pd.DataFrame") -> float:
    """Rise of o(p) / o(max) from few to many training classes, other things equal (Harun et al.). Errors: Problem."""
    cases = [case for case in rows["case"].unique() if case.endswith("-classes")]
    if not cases:
        raise Problem("runs of another number of classes are missing")
    counts = rows.groupby("case")["stream.count"].first().fillna(np.inf)
    return retained_gain(cases[0], rows) * (1 if counts[cases[0]] > counts["plain"] else -1)


def rank_against_vgg(rows: "pd.DataFrame") -> float:
    """Rank of the residual network's last hidden layer over that of VGG's (Fig. 2). Errors: Problem when one is missing."""
    ranks = _means(rows, "model.name", "rank_p")
    if not {"vgg", "resnet"} <= set(ranks.index):
        raise Problem("runs of vgg or of resnet are missing")
    return float(ranks["resnet"] / ranks["vgg"])


MEASURES: dict[str, Callable[["pd.DataFrame"], float]] = {
    "start_range": start_range,
    "retained_rises": retained_rises,
    "start_rises": start_rises,
    "width_rise": width_rise,
    "shortened_accuracy": shortened_accuracy,
    "shortened_forgetting": shortened_forgetting,
    "too_short_loss": too_short_loss,
    "crops_gain": partial(retained_gain, "crops"),
    "pixels_gain": partial(retained_gain, "64-pixels"),
    "classes_gain": classes_gain,
    "rank_against_vgg": rank_against_vgg,
}
