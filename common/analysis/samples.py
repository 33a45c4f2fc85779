"""Labelled samples that can be read more than once: tensors, or batches of a loader with a fixed order."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.errors import Problem

Data = tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]]


class Samples:
    """Inputs and labels, either held (x, y) or read from batches again and again; labels are always held.

    y: int64 [n]. Batches are read once when this is made, to learn the labels; every later reading must give the same
    labels in the same order. Errors: Problem, naming `what`, when they cannot be read twice or the labels are no labels.
    """

    def __init__(self, data: Data, what: str = "the data") -> None:
        self.what = what
        self.x: Tensor | None = None
        self.batched: Iterable[Any] | None = None
        if isinstance(data, tuple | list) and len(data) == 2 and all(map(_is_array, data)):
            self.x, labels = torch.as_tensor(data[0]), torch.as_tensor(data[1])
        else:
            if not hasattr(data, "__iter__") or iter(data) is data:
                raise Problem(
                    f"{what} can be read only once, but is needed several times: give tensors (x, y), or something that "
                    "begins anew each time, such as a list of batches or a DataLoader."
                )
            self.batched = data
            labels = torch.cat([torch.as_tensor(batch[1]) for batch in data] or [torch.zeros(0, dtype=torch.int64)])
        self.y: np.ndarray = _labels(labels, what)
        if not len(self.y) or (self.x is not None and len(self.x) != len(self.y)):
            raise Problem(f"{what} has {0 if self.x is None else len(self.x)} inputs and {len(self.y)} labels.")

    def __len__(self) -> int:
        return len(self.y)

    def batches(self, size: int, rows: np.ndarray | None = None) -> Iterator[tuple[np.ndarray, Tensor]]:
        """(row numbers, inputs) of all samples, or of `rows`; at most `size` at once.

        Errors: Problem when rows out of order are asked of a loader, or when it gives other labels than before.
        """
        if self.x is not None:
            rows = np.arange(len(self)) if rows is None else rows
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                ordered = part[-1] - part[0] == len(part) - 1 and bool((np.diff(part) == 1).all())
                yield part, self.x[part[0] : part[-1] + 1] if ordered else self.x[torch.from_numpy(part)]
            return
        wanted = None if rows is None else np.isin(np.arange(len(self)), rows)
        if rows is not None and not (np.diff(rows) > 0).all():
            raise Problem(
                f"{self.what} comes in batches, whose order cannot be changed: give tensors (x, y), or allow more memory "
                "or fewer features, so that the features are held and not the inputs."
            )
        yield from self._read(size, wanted)

    def _read(self, size: int, wanted: np.ndarray | None) -> Iterator[tuple[np.ndarray, Tensor]]:
        begin = 0
        assert self.batched is not None
        for x, y, *_ in self.batched:
            here = np.arange(begin, begin + len(y))
            begin += len(y)
            if begin > len(self) or not np.array_equal(torch.as_tensor(y).cpu().numpy(), self.y[here]):
                raise Problem(f"{self.what} comes in another order each time it is read: do not shuffle it.")
            part = np.arange(len(y)) if wanted is None else np.flatnonzero(wanted[here])
            for start in range(0, len(part), size):
                chosen = part[start : start + size]
                yield here[chosen], x[torch.from_numpy(chosen)]


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | np.ndarray)


def _labels(labels: Tensor, what: str) -> np.ndarray:
    if labels.ndim != 1 or labels.is_floating_point():
        raise Problem(f"The labels of {what} are to be whole numbers [n], not {labels.dtype} {list(labels.shape)}.")
    return labels.cpu().numpy().astype(np.int64)


def positions(y: np.ndarray, classes: np.ndarray, what: str) -> np.ndarray:
    """int64 positions of the labels in the sorted `classes`. Errors: Problem when a label is not among them."""
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise Problem(f"{what} has the classes {unknown[:5].tolist()}, which its training samples do not have.")
    return np.searchsorted(classes, y)
