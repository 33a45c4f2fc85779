"""Measures of this paper: accuracy over all images, and images that turn right again; spread over cuts and orders."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def per_run(trace: dict[str, np.ndarray], accuracy: np.ndarray) -> dict[str, float]:
    """final: share of all held-out images that are right at the end. again: how often, from the end of one task to that
    of the next, an image of an old task turns from wrong to right, which a score that no task moves can never do."""
    hits = np.unpackbits(trace["bits"], axis=1, count=int(trace["offsets"][-1])).astype(bool)
    ends = np.searchsorted(trace["step"], trace["ends"], side="right") - 1
    old = [(before, now, trace["offsets"][trace["seen"][before]]) for before, now in pairwise(ends)]
    again = sum(int((~hits[before, :n] & hits[now, :n]).sum()) for before, now, n in old)
    return {"final": float(hits[-1].mean()), "again": float(again)}


def spread(rows: "pd.DataFrame") -> float:
    """Largest less smallest `final` over numbers of tasks and orders."""
    return float(np.ptp(rows["final"]))


MEASURES = {"spread": spread}
