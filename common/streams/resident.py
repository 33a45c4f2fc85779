"""The images of a stream as tensors that stay on the device: one table for training, one batch for evaluation.

Rows of untransformed tasks are the data set's own rows, so a stream of thousands of tasks on the same images costs
one table. Each transform of a task adds its transformed images once; the images of a task with a corruption lie after
the table, in a place that the next such task takes over. Memories hold row numbers of the table, never of that place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from common.rng import generator
from common.streams.stream import Stream, Task


class Batch(NamedTuple):
    """Samples to learn from: float images [B, C, H, W], labels [B], and for several heads the columns [B, classes]
    that count for each sample (None: all). `replay` holds remembered samples beside the new ones; `rows` [B] are the
    samples' row numbers in the resident table, for what a learner keeps per sample."""

    x: Tensor
    y: Tensor
    columns: Tensor | None = None
    replay: "Batch | None" = None
    rows: Tensor | None = None


@dataclass(frozen=True)
class Evaluation:
    """The fixed held-out samples of all measured parts (a part a task, or those of the stream), sorted by part.

    x, y, columns as in Batch; offsets [parts + 1].
    """

    x: Tensor
    y: Tensor
    columns: Tensor | None
    offsets: np.ndarray


class Resident:
    """A stream's images on a device.

    inputs: uint8 [R, C, H, W]; labels: int64 [R], classes of the stream. `rows(task)` are a task's rows in them.
    """

    def __init__(self, stream: Stream, device: torch.device | str = "cpu") -> None:
        self.stream, self.device = stream, torch.device(device)
        images = stream.images
        self.scale = _channels([1 / (255 * s) for s in images.std], self.device)
        self.shift = _channels([-m / s for m, s in zip(images.mean, images.std, strict=True)], self.device)
        tables, labels, self._lookup = _tables(stream)
        self._end = len(labels)  # of the table; after it the images of the present task, where tasks have corruptions
        if stream.corrupts:
            spare = int(stream.sizes().max())
            tables = np.concatenate([tables, np.zeros((spare, *tables.shape[1:]), dtype=np.uint8)])
            labels = np.concatenate([labels, np.zeros(spare, dtype=np.int64)])
        self.inputs = torch.from_numpy(tables).to(self.device)
        self.labels = torch.from_numpy(labels).to(self.device)
        self._host_labels = labels
        self.columns = _columns(stream, self.device)
        channels, height, width = self.inputs.shape[1:]
        self.shape = (channels, height, width)

    def rows(self, task: Task) -> np.ndarray:
        """int64 row numbers of a task's training images in the table, in the order of `task.train`."""
        return self._lookup[repr(task.transform)][task.train]

    def shown(self, task: Task) -> np.ndarray:
        """int64 row numbers of the images that are trained on, in the order of `rows`; valid until the next task's."""
        rows = self.rows(task)
        if task.corruption is None:
            return rows
        place = np.arange(self._end, self._end + len(rows))
        changed = task.corruption(self.inputs[torch.as_tensor(rows, device=self.device)].cpu().numpy())
        self.inputs[place[0] : place[-1] + 1] = torch.from_numpy(changed).to(self.device)
        self._host_labels[place] = self._host_labels[rows]
        self.labels[place[0] : place[-1] + 1] = torch.from_numpy(self._host_labels[rows]).to(self.device)
        return place

    def drawn(self, task: Task, step: int, size: int, seed: int) -> np.ndarray | None:
        """Rows of the new samples of a step, where the data are drawn at each step; None: epochs, each in a random order."""
        return None

    def labels_of(self, rows: np.ndarray) -> np.ndarray:
        """int64 labels of those rows, on the host."""
        return self._host_labels[rows]

    def batch(self, rows: Tensor | np.ndarray, change: Callable[[Tensor], Tensor] | None = None) -> Batch:
        """Normalised samples of those rows, their pictures changed first where an augmentation is given."""
        index = torch.as_tensor(rows, device=self.device)
        y = self.labels[index]
        columns = None if self.columns is None else self.columns[y]
        pictures = self.inputs[index] if change is None else change(self.inputs[index])
        return Batch(self._normalise(pictures), y, columns, rows=index)

    def _normalise(self, images: Tensor) -> Tensor:
        return images.to(torch.float32).mul_(self.scale).add_(self.shift)

    def evaluation(self, samples: int | None, seed: int) -> Evaluation:
        """The evaluation samples: per measured part at most `samples`, drawn once by the run's seed, in a random order,
        so that the first n of a part are themselves a random subset."""
        images, labels, offsets = [], [], [0]
        for task in self.stream.measured:
            source = self.stream.images.test if task.source == "test" else self.stream.images.train
            chosen = generator(seed, "evaluation subset", task.index).permutation(task.test)[:samples]
            raw = np.asarray(source.images[chosen])
            images.append(task.transform(raw) if task.transform else raw)
            labels.append(self.stream.relabel[source.labels[chosen]])
            offsets.append(offsets[-1] + len(chosen))
        y = torch.from_numpy(np.concatenate(labels)).to(self.device)
        x = self._normalise(torch.from_numpy(np.concatenate(images)).to(self.device))
        return Evaluation(x, y, None if self.columns is None else self.columns[y], np.array(offsets))


def _channels(values: list[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1)


def _tables(stream: Stream) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """(images, labels, per transform: data set row -> table row, -1 where a row is in no task of that transform)."""
    source = stream.images.train
    images, labels, lookup, filled = [], [], {}, 0
    for transform, used in stream.tables():
        table = np.full(len(source.labels), -1, dtype=np.int64)
        table[used] = filled + np.arange(len(used))
        raw = np.asarray(source.images[used])
        images.append(transform(raw) if transform else raw)
        labels.append(stream.relabel[source.labels[used]])
        lookup[repr(transform)], filled = table, filled + len(used)
    # one table is the rule: joining it with nothing would copy every image once more
    return images[0] if len(images) == 1 else np.concatenate(images), np.concatenate(labels), lookup


def _columns(stream: Stream, device: torch.device) -> Tensor | None:
    """bool [classes, classes]: row c marks the classes of c's task, for task-incremental streams; else None."""
    if stream.scenario != "task":
        return None
    table = torch.zeros(stream.classes, stream.classes, dtype=torch.bool)
    for task in stream.tasks:
        index = torch.tensor(task.classes)
        table[index.unsqueeze(1), index] = True
    return table.to(device)
