"""Continual-evaluation metrics: pure functions of the accuracy matrix that a run's trace holds.

Throughout: A float [E, T], accuracy in [0, 1] of evaluation task i (column) at evaluation e (row), NaN while
task i is unseen; `step` int [E], updates made when the evaluation happened (non-decreasing, 0 = before the
first update); `ends` int [T], updates made at the end of each learning task. Evaluation task i is the
held-out set of learning task i; k is the number of tasks seen in the last row. Every metric is a fraction,
its value at the last row.
Source: De Lange, van de Ven, Tuytelaars, "Continual evaluation for lifelong learning", ICLR 2023, and its
released code for what the paper leaves open (averaging, LCA).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

METRICS = ("acc", "forg", "min_acc", "wc_acc", "wf10", "wf100", "wp10", "wp100", "lca")
BOUNDARIES = "boundaries"


def accuracy_matrix(bits: npt.NDArray[np.uint8], offsets: Ints, seen: Ints, samples: int | None = None) -> Floats:
    """A [E, T] from packed per-sample correctness; NaN for unseen tasks and for tasks without samples.

    bits uint8 [E, ceil(N/8)] (np.packbits along the samples, which are sorted by task), offsets [T+1] sample
    range of each task, seen [E] tasks evaluated in each row. `samples`: use the first n samples of every task
    only. Counts set bits in place of unpacking them: an eighth of the memory, quick enough to redo for any n.
    """
    tasks = len(offsets) - 1
    matrix = np.full((len(bits), tasks), np.nan)
    for task in range(tasks):
        low, high = int(offsets[task]), int(offsets[task + 1])
        if samples is not None:
            high = min(high, low + samples)
        if high <= low:
            continue
        block = bits[:, low // 8 : -(-high // 8)].copy()
        block[:, 0] &= 0xFF >> (low % 8)  # drop the samples of the task before, which share this byte
        block[:, -1] &= (0xFF << (-high % 8)) & 0xFF  # and those after
        matrix[:, task] = np.bitwise_count(block).sum(axis=1, dtype=np.int64) / (high - low)
    matrix[np.arange(tasks) >= np.asarray(seen)[:, None]] = np.nan
    return matrix


def thin(step: Ints, ends: Ints, every: int | None) -> npt.NDArray[np.bool_]:
    """Mask [E] of the evaluations kept at evaluation period `every` (None: task ends only).

    Keeps updates divisible by `every`, and task ends always: a coarser protocol still knows the boundaries.
    """
    at_end = np.isin(step, ends)
    return at_end if every is None else at_end | (np.asarray(step) % every == 0)


def _seen_tasks(A: Floats) -> int:
    """Number k of tasks seen in the last row; a task without samples makes metrics NaN, not wrong."""
    return int(np.flatnonzero(~np.isnan(A[-1])).max(initial=-1)) + 1 if len(A) else 0


def acc(A: Floats) -> float:
    """ACC: mean accuracy over the k seen tasks at the last evaluation."""
    k = _seen_tasks(A)
    return float(A[-1, :k].mean()) if k else np.nan


def forg(A: Floats, step: Ints, ends: Ints) -> float:
    """FORG: mean over old tasks of (accuracy at the end of the task - accuracy now); NaN without an old task.

    The reference is the value at the end of the task, not the historical maximum.
    """
    k = _seen_tasks(A)
    if k < 2:
        return np.nan
    rows = np.searchsorted(step, ends[: k - 1], side="right") - 1
    return float(np.mean(A[rows, np.arange(k - 1)] - A[-1, : k - 1]))


def min_acc(A: Floats, step: Ints, ends: Ints) -> float:
    """min-ACC (Eq. 2): mean over old tasks of the lowest accuracy after their end; NaN without old tasks.

    Evaluations while the task itself is being learned never count: the first that does follows the first
    update of the next task.
    """
    k = _seen_tasks(A)
    if k < 2:
        return np.nan
    later = np.asarray(step)[:, None] > np.asarray(ends)[None, : k - 1]
    return float(np.where(later, A[:, : k - 1], np.inf).min(axis=0).mean())


def wc_acc(A: Floats, step: Ints, ends: Ints) -> float:
    """WC-ACC (Eq. 6): current task's accuracy / k + (1 - 1/k) min-ACC; at most ACC on the same samples."""
    k = _seen_tasks(A)
    if k == 0:
        return np.nan
    current = float(A[-1, k - 1])
    return current if k == 1 else current / k + (1 - 1 / k) * min_acc(A, step, ends)


def _trailing_max(curve: Floats, w: int) -> Floats:
    """Maximum of the last `w` values up to each position, by doubling the span: log2(w) passes."""
    best, span = curve.copy(), 1
    while span < w:
        jump = min(span, w - span)
        best[jump:] = np.maximum(best[jump:], best[:-jump])
        span += jump
    return best


def _largest_drops(A: Floats, w: int) -> float:
    """Mean over seen tasks of the largest drop inside any `w` consecutive evaluations of that task."""
    curves = [column[~np.isnan(column)] for column in A.T]
    drops = [float((_trailing_max(curve, w) - curve).max()) for curve in curves if len(curve)]
    return float(np.mean(drops)) if drops else np.nan


def windowed_forgetting(A: Floats, w: int) -> float:
    """WF^w (Eq. 3-4): mean over seen tasks, the current one too, of the largest drop within `w` evaluations.

    The window counts evaluations of the task, from its first one; fewer than two contribute 0. Needs no
    boundaries.
    """
    return _largest_drops(A, w)


def windowed_plasticity(A: Floats, w: int) -> float:
    """WP^w: as `windowed_forgetting` with the largest rise.

    The released code keeps only starting points that are running maxima of the window, which is right for
    drops but misses a rise that follows a drop; here the definition counts.
    """
    return _largest_drops(-A, w)


def lca(A: Floats, step: Ints, ends: Ints, beta: int = 10) -> float:
    """LCA: mean over tasks of the mean of the first `beta` accuracies of the task while it is being learned.

    The evaluation before the first update of the stream counts for task 0. As in the released code, a task
    with fewer than `beta` evaluations does not enter; NaN when none enters.
    """
    begins = np.concatenate(([-1], ends[:-1]))
    areas = []
    for task in range(min(_seen_tasks(A), len(ends))):
        curve = A[(step > begins[task]) & (step <= ends[task]), task]
        if len(curve) >= beta:
            areas.append(curve[:beta].mean())
    return float(np.mean(areas)) if areas else np.nan


def summarise(A: Floats, step: Ints, ends: Ints, rhos: Sequence[int] = (10, 100)) -> dict[str, float]:
    """Every name of METRICS -> fraction (or NaN), and at coarser evaluation: "acc@10", "acc@boundaries", ...

    Coarser values come from the same trace by dropping rows, so nothing is trained again. A window of w=10
    counts the evaluations that are left: wf10@100 is not wf10.
    """
    rows: dict[str, Any] = {"": slice(None)}
    rows |= {f"@{rho}": thin(step, ends, rho) for rho in rhos} | {f"@{BOUNDARIES}": thin(step, ends, None)}
    return {
        name + suffix: value
        for suffix, kept in rows.items()
        for name, value in _all_metrics(A[kept], step[kept], ends).items()
    }


def _all_metrics(A: Floats, step: Ints, ends: Ints) -> dict[str, float]:
    """Name in METRICS -> value at the last row."""
    values = (
        acc(A), forg(A, step, ends), min_acc(A, step, ends), wc_acc(A, step, ends),
        windowed_forgetting(A, 10), windowed_forgetting(A, 100),
        windowed_plasticity(A, 10), windowed_plasticity(A, 100), lca(A, step, ends),
    )  # fmt: skip
    return dict(zip(METRICS, values, strict=True))
