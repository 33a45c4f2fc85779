"""Images to probe a frozen network with, in or out of its training distribution: the network's size and normalisation."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from common.streams.data import Images, Split
from common.streams.stream import Stream
from common.streams.subsets import limited, ood_classes, refuse_overlap, used


@dataclass(frozen=True)
class Labelled:
    """Pictures uint8 [N, C, H, W] and labels int64 [N] (0 .. classes - 1); indexing normalises: set[rows] -> (x, y).

    `x` is all of them at once as floats; indexing batch by batch needs a quarter of the memory.
    """

    pixels: Tensor
    y: Tensor
    scale: Tensor
    shift: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: slice | Tensor) -> tuple[Tensor, Tensor]:
        return self.pixels[rows].float().mul_(self.scale).add_(self.shift), self.y[rows]

    @property
    def x(self) -> Tensor:
        """All pictures, normalised float32 [N, C, H, W]."""
        return self[:][0]


@dataclass(frozen=True)
class ProbeSet:
    """What a probe is fitted on and what it is measured on. classes: the data set's labels, in the order of y."""

    title: str
    classes: tuple[int, ...]
    train: Labelled
    test: Labelled


def in_distribution(
    trained_on: Stream, train_per_class: int | None = None, test_per_class: int | None = None
) -> ProbeSet:
    """The classes of the stream, in the order of its outputs; images of a class as `stream.per_class` would choose them."""
    order = sorted(used(trained_on), key=lambda label: int(trained_on.relabel[label]))
    return _probe_set(trained_on.images, order, trained_on.images, train_per_class, test_per_class)


def out_of_distribution(
    trained_on: Stream,
    images: Images,
    classes: Sequence[int] | None = None,
    *,
    count: int | None = None,
    draw: int | None = 0,
    train_per_class: int | None = None,
    test_per_class: int | None = None,
) -> ProbeSet:
    """Listed classes of a data set, or `count` (None: all) that the stream never shows, chosen at random by `draw`.

    Pictures of another size or number of channels are brought to the stream's, and normalised as the stream's are.
    Errors: Problem when classes overlap with the stream's, or there are too few classes or images.
    """
    if classes is None:
        classes = ood_classes(trained_on, images, count, draw)
    refuse_overlap(trained_on, images, classes)
    return _probe_set(images, classes, trained_on.images, train_per_class, test_per_class)


def _probe_set(
    images: Images, classes: Sequence[int], like: Images, train_per_class: int | None, test_per_class: int | None
) -> ProbeSet:
    pairs = ((images.train, train_per_class, "train_per_class"), (images.test, test_per_class, "test_per_class"))
    made = [_labelled(part, classes, like, each, what) for part, each, what in pairs]
    return ProbeSet(images.title, tuple(classes), *made)


def _labelled(part: Split, classes: Sequence[int], like: Images, each: int | None, what: str) -> Labelled:
    rows = limited(part.labels, np.flatnonzero(np.isin(part.labels, classes)), classes, each, what)
    place = np.full(int(part.labels.max()) + 1, -1, dtype=np.int64)
    place[list(classes)] = np.arange(len(classes))
    pixels = fitted(torch.from_numpy(np.asarray(part.images[rows])), like.train.images.shape[1:])
    mean, std = (torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1) for values in (like.mean, like.std))
    return Labelled(pixels, torch.from_numpy(place[part.labels[rows]]), 1 / (255 * std), -mean / std)


def fitted(pixels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """uint8 [N, *shape]: grey repeated or colours averaged, then resized (bilinear, antialiased)."""
    if pixels.shape[1] != shape[0]:
        grey = pixels if pixels.shape[1] == 1 else pixels.float().mean(1, keepdim=True).round().to(torch.uint8)
        pixels = grey.expand(-1, shape[0], -1, -1)
    if pixels.shape[2:] == tuple(shape[1:]):
        return pixels
    parts = [
        interpolate(part.float(), tuple(shape[1:]), mode="bilinear", antialias=True) for part in pixels.split(1024)
    ]
    return torch.cat([part.round().clamp(0, 255).to(torch.uint8) for part in parts])
