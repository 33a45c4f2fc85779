"""The members' batches as one: rows of a table that they share, and rows that do not count where one has fewer."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from common.learners.base import Learner
from common.streams.resident import Batch, Resident
from common.vectorised.capture import gradients
from common.vectorised.lift import same, scrambled

NOT_COUNTED = -100  # a label that torch's losses pass over, in the mean too
Rows = list[np.ndarray]


def shared_tables(tables: list[Resident]) -> list[Resident]:
    """The one table of images that all members use from now on; each its own where they differ, or will."""
    first = tables[0]
    for table in tables:
        if table.stream.corrupts or not _equal(table.inputs, first.inputs):
            return tables
        if not _equal(table.labels, first.labels) or not _equal(table.columns, first.columns):
            return tables
        table.inputs, table.labels = first.inputs, first.labels  # its own copy is given up
    return [first]


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))


def joined(tables: list[Resident], rows: Rows, size: int) -> Batch:
    """The batches of these rows as tensors [members, size, ...]; what a member has too few has a label that is not counted."""
    short = any(len(own) < size for own in rows)
    filled = [_filled(own, size) for own in rows] if short else rows
    if len(tables) == 1:
        batch = tables[0].batch(np.concatenate(filled))
        batch = _mapped(lambda t: t.unflatten(0, (len(rows), size)), batch)
    else:
        each = [table.batch(own) for table, own in zip(tables, filled, strict=True)]
        batch = pytree.tree_map(lambda *t: None if t[0] is None else torch.stack(t), each[0], *each[1:])
    if short:
        counted = torch.as_tensor(np.arange(size) < np.array([[len(own)] for own in rows]), device=batch.y.device)
        batch = batch._replace(y=torch.where(counted, batch.y, NOT_COUNTED))
    return batch


def _filled(rows: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([rows, np.full(size - len(rows), rows[0])])


def part(value: Any, k: int) -> Any:
    """Member k's part of a stacked value."""
    return value[k] if isinstance(value, Tensor) else value


def parts(tree: Any, members: int) -> list[Any]:
    """Every member's part of a tree of stacked tensors."""
    flat, form = pytree.tree_flatten(tree)
    return [pytree.tree_unflatten([part(value, k) for value in flat], form) for k in range(members)]


def may_be_filled(learner: Learner, batch: Batch, size: int, recalled: int | None) -> bool:
    """Whether rows that are not counted leave the learner's numbers as they are, to the last bit.

    batch: a member's, filled up; size, recalled: how many of its samples are real. Tried on random numbers.
    """
    real = _cut(batch, size)
    if batch.replay is not None and recalled is not None:
        real = real._replace(replay=_cut(batch.replay, recalled))
    weights = {name: p.detach() for name, p in learner.live.items()}
    compute = gradients(learner)
    try:
        for trial in (1, 2):
            params, state = pytree.tree_map(lambda v, t=trial: _random(v, t), (weights, learner.state))
            one, other = (pytree.tree_leaves(compute(params, state, b)) for b in (real, batch))
            if not same(one, other):
                return False
    except (RuntimeError, IndexError, ValueError):  # a loss of its own kind, that cannot do with such a label
        return False
    return True


def _cut(batch: Batch, size: int) -> Batch:
    return _mapped(lambda t: t[:size], batch)


def _mapped(change: Callable[[Tensor], Tensor], batch: Batch) -> Batch:
    """The batch, without what is replayed, with every tensor changed."""
    columns, rows = (None if t is None else change(t) for t in (batch.columns, batch.rows))
    return Batch(change(batch.x), change(batch.y), columns, None, rows)


def _random(value: Any, seed: int) -> Any:
    return scrambled(value, seed) * 0.1 if isinstance(value, Tensor) and value.is_floating_point() else value
