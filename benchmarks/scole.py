"""Speed of a task of SCoLe's MNIST run: the way of the released code, a hand-written loop, and ours, by turns in one process.

The task of all: 10,800 images of two classes of 28 x 28 (169 steps of 64), the MNIST CNN, plain SGD, the mask of the batch's
labels, gradients clipped at 10, then 10,000 test images. Random images; one thread. The released code measures 1,200
validation images besides, which are left out here.
"""

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

CLASSES, PER_CLASS, TEST, BATCH = 10, 5400, 10_000, 64
TASKS = 500  # of the run whose evaluations are log-spaced
TURNS = 3


def measure() -> dict[str, float]:
    """Median ratios over turns, and seconds per task. Log-spaced: measured at 30 of 500 tasks, whose share is counted."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"REPLICATE_RUNS": folder, "REPLICATE_DATA": f"{folder}/data"}
        data = write_mnist_shaped(Path(folder) / "data" / "MNIST" / "raw")
        ways: dict[str, Callable[[int], float]] = {
            "released": lambda turn: released(*data),
            "hand-written": lambda turn: by_hand(*data),
            "ours": lambda turn: ours(turn, tasks=1),
            "ours, not measured": lambda turn: ours(turn, tasks=TASKS),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(TURNS):
            for name, way in ways.items():
                times[name].append(way(turn))
    spaced = [n + evaluations() / TASKS * max(0.0, o - n) for o, n in _pairs(times, "ours", "ours, not measured")]
    ratios = {
        "SCoLe: ours / hand-written": statistics.median(o / h for o, h in _pairs(times, "ours", "hand-written")),
        "SCoLe: ours / released way": statistics.median(o / r for o, r in _pairs(times, "ours", "released")),
        "SCoLe: ours, log-spaced evaluation / released way": statistics.median(
            s / r for s, r in zip(spaced, times["released"], strict=True)
        ),
    }
    return ratios | {f"s per task of SCoLe: {name}": statistics.median(found) for name, found in times.items()}


def _pairs(times: dict[str, list[float]], one: str, other: str) -> list[tuple[float, float]]:
    return list(zip(times[one], times[other], strict=True))


def evaluations() -> int:
    """How many of the tasks are measured."""
    from common.spec import Evaluation

    return sum(Evaluation(tasks="log").at_end_of(index, TASKS) for index in range(TASKS))


def write_mnist_shaped(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 images [N, 28, 28], labels [N]), training before test, that were also written as MNIST's own files."""
    folder.mkdir(parents=True)
    rng, train = np.random.default_rng(0), CLASSES * PER_CLASS
    images = rng.integers(0, 256, (train + TEST, 28, 28), dtype=np.uint8)
    labels = (np.arange(len(images)) % CLASSES).astype(np.uint8)
    for name, part in (("train", slice(0, train)), ("t10k", slice(train, None))):
        header = np.array([2051, len(images[part]), 28, 28], dtype=">i4").tobytes()
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images[part].tobytes())
        header = np.array([2049, len(labels[part])], dtype=">i4").tobytes()
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(header + labels[part].tobytes())
    return images, labels.astype(np.int64)


def ours(seed: int, tasks: int) -> float:
    """Seconds per task of `common.loop.run`, its second task. tasks: every how many tasks is measured."""
    from common import loop
    from common.spec import resolve
    from common.streams import data

    raw: dict[str, Any] = {
        "data": "mnist",
        "stream": {"name": "recurring", "tasks": 3, "classes_per_task": 2, "per_class": PER_CLASS},
        "model": {"name": "mnist_cnn"},
        "learner": {"name": "masked", "mask": "group"},
        "optimiser": {"name": "sgd", "lr": 0.01, "fresh": False},
        "budget": {"epochs": 1, "batch": BATCH},
        "evaluation": {"every": 0, "samples": None, "tasks": tasks},
        "seed": seed,
    }
    marks: list[float] = []
    steps = -(-2 * PER_CLASS // BATCH)

    def watch(updates: int, total: int) -> None:
        marks.append(time.perf_counter())
        if updates == 2 * steps:
            raise KeyboardInterrupt  # the second task is all that is timed

    with contextlib.suppress(KeyboardInterrupt):
        loop.run(resolve(raw, data.digest("mnist")), loop.Place(device="cpu", watch=watch))
    return marks[2 * steps - 1] - marks[steps - 1]


def network() -> nn.Sequential:
    """The MNIST CNN."""
    return nn.Sequential(
        *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Linear(50, CLASSES)),
    )


def masked_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy over the labels that occur in the batch."""
    absent = torch.ones(CLASSES, dtype=torch.bool).index_fill_(0, y, False)
    return cross_entropy(logits.masked_fill(absent, -1e9), y)


def by_hand(images: np.ndarray, labels: np.ndarray) -> float:
    """Seconds of a task in the shortest loop that does the same: tensors in memory, batched evaluation."""
    x, y = torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels)
    rows = torch.nonzero(y[: CLASSES * PER_CLASS] < 2).squeeze(1)
    test = slice(CLASSES * PER_CLASS, None)
    held_x, held_y = ((x[test].float() / 255) - 0.1307) / 0.3081, y[test]
    net = network().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
    losses = []
    began = time.perf_counter()
    for part in rows[torch.randperm(len(rows))].split(BATCH):
        loss = masked_loss(net(((x[part].float() / 255) - 0.1307) / 0.3081), y[part])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimiser.step()
        losses.append(loss.detach())
    with torch.inference_mode():
        right = torch.cat([net(part).argmax(1) for part in held_x.split(256)]) == held_y
    assert len(right) == TEST
    return time.perf_counter() - began


class Converted(Dataset[tuple[Tensor, int]]):
    """Images converted one by one, from an array over a picture to a tensor, as torchvision data sets do."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        from torchvision.transforms import ToTensor

        self.images, self.labels, self.convert = images, labels, ToTensor()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.convert(Image.fromarray(self.images[index])), int(self.labels[index])


def released(images: np.ndarray, labels: np.ndarray) -> float:
    """Seconds of a task as the released code does it: a loader for it, losses read at every step, the test set by a loader
    of batches of 64 with gradients enabled, predictions joined array by array."""
    train = slice(0, CLASSES * PER_CLASS)
    chosen = labels[train] < 2
    net = network()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
    began = time.perf_counter()
    own = Converted(images[train][chosen], labels[train][chosen])
    loss_sum, predicted = 0.0, np.zeros(0)
    net.train()
    for x, y in DataLoader(own, BATCH, shuffle=True):
        logits = net(x)
        loss = masked_loss(logits, y)
        optimiser.zero_grad()
        if loss.item() != 0:
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 10.0)
            optimiser.step()
        loss_sum += loss.item()
        predicted = np.concatenate([predicted, logits.argmax(1).numpy()])
    net.eval()
    guessed = np.zeros(0)
    for x, y in DataLoader(Converted(images[train.stop :], labels[train.stop :]), BATCH):
        logits = net(x)
        loss_sum += masked_loss(logits, y).item()
        guessed = np.concatenate([guessed, logits.argmax(1).numpy()])
    assert len(guessed) == TEST
    return time.perf_counter() - began
