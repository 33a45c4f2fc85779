"""Speed of a task of SCoLe's MNIST run: the way of the released code, a hand-written loop, and ours, by turns in one process.

The task of all: 10,800 images of two classes of 28 x 28 (169 steps of 64), the MNIST CNN, plain SGD, the mask of the batch's
labels, gradients clipped at 10, then 10,000 test images. Random images; one thread. The released code measures 1,200
validation images besides, which are left out here, as are its printing and logging.

How far the floor came down. Arithmetic: 28 GFLOP to train, 9.6 to evaluate; a product of two matrices of 1,024 rows makes 82
GFLOP/s on the core of these measurements, so the limit is 0.34 + 0.12 s. Processor time of a training step of 64 images, and
of evaluating 10,000 (batches of 256), each over that of the plain layers in channels last (6.4 ms, 0.36 s), on a busy machine:

    tried                                                                  a step    evaluation
    plain layers, contiguous, as released (pooling in it is slow)          1.4       1.9
    first convolution and pooling in oneDNN's blocks, rest channels last   0.89      0.74   in use for training
    both stages in oneDNN's blocks (backward of the second is slow)        1.40      0.66   in use for evaluation
    first stage as one matrix product, 6 x 6 windows to 2 x 2 outputs      1.2       0.93
    both stages so                                                         1.3       1.03
    both stages so, the images of a batch innermost                        1.3       1.1
    first convolution with 16 channels, six of them cut off after pooling  1.75      1.1
    torch.compile (inductor); 190 s to compile                             1.6       0.7

No gain: evaluation in batches of 512 (64: +15 %, 1,000: +85 %), memory kept by malloc, SGD with foreach or fused (30 us a
step all three), another cross-entropy (35 against 19 us). Not tried, since it is other arithmetic: half precision, Winograd.
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
    from common.resolve import resolve
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


def layers() -> nn.Sequential:
    """The MNIST CNN as the released code has it."""
    return nn.Sequential(
        *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Linear(50, CLASSES)),
    )


def by_hand(images: np.ndarray, labels: np.ndarray) -> float:
    """Seconds of a task in the shortest loop that does the same: tensors in memory, batched evaluation, the fast network."""
    from common.models.scole import mnist_cnn

    x, y = torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels)
    rows = torch.nonzero(y[: CLASSES * PER_CLASS] < 2).squeeze(1)
    test = slice(CLASSES * PER_CLASS, None)
    held_x, held_y = ((x[test].float() / 255) - 0.1307) / 0.3081, y[test]
    net = mnist_cnn((1, 28, 28), CLASSES)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
    losses = []
    began = time.perf_counter()
    for part in rows[torch.randperm(len(rows))].split(BATCH):
        logits = net(((x[part].float() / 255) - 0.1307) / 0.3081)
        absent = torch.ones(CLASSES, dtype=torch.bool).index_fill_(0, y[part], False)
        loss = cross_entropy(logits.masked_fill(absent, -1e9), y[part])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimiser.step()
        losses.append(loss.detach())
    with torch.inference_mode():
        right = torch.cat([net(part).argmax(1) for part in held_x.split(256)]) == held_y
    assert len(right) == TEST
    return time.perf_counter() - began


class Converted(Dataset[tuple[Tensor, Any, Any]]):
    """Images converted one by one, from an array over a picture to a tensor; with each its label and its task's number.

    As continuum 1.2 does it, the library of the released code.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        from torchvision.transforms import Compose, ToTensor

        self.images, self.labels, self.tasks = images, labels, labels // 2
        self.convert = Compose([ToTensor()])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Any, Any]:
        from PIL import Image

        picture = Image.fromarray(self.images[index].astype("uint8"))
        return self.convert(picture), self.labels[index], self.tasks[index]


def released(images: np.ndarray, labels: np.ndarray) -> float:
    """Seconds of a task as the released code does it: its images chosen and copied, one pass over them to train, one over
    the test set. Its pass over 1,200 validation images, its printing and its logging are left out."""
    train = slice(0, CLASSES * PER_CLASS)
    net = layers()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01)
    held = Converted(images[train.stop :], labels[train.stop :])
    began = time.perf_counter()
    chosen = np.where(np.isin(labels[train], [0, 1]))[0]
    _pass_over(Converted(images[train][chosen], labels[train][chosen]), net, optimiser)
    _pass_over(held, net, None)
    return time.perf_counter() - began


def _pass_over(data: Converted, net: nn.Module, optimiser: torch.optim.Optimizer | None) -> tuple[float, list[float]]:
    """(accuracy, accuracy of each class in an evaluation), as released: a loader without workers; loss and predictions are
    read after every batch, and joined array by array; an evaluation too has its loss, and the graph for its gradient."""
    net.train(optimiser is not None)
    predicted, true, total = np.zeros(0), np.zeros(0), 0.0
    for x, y, _ in DataLoader(data, BATCH, shuffle=optimiser is not None):
        logits = net(x)
        predicted = np.concatenate([predicted, np.array(logits.max(1)[1])])
        true = np.concatenate([true, y.numpy()])
        inside = torch.zeros_like(logits)
        inside[:, y.unique()] = 1
        loss = cross_entropy(logits.masked_fill_(inside == 0, -1e9), y)
        assert loss == loss
        if optimiser is not None and loss != 0:
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 10.0)
            optimiser.step()
        if loss != 0:
            total += loss.item()
    classes = [] if optimiser is not None else [float((predicted[true == c] == c).mean()) for c in np.unique(true)]
    assert len(predicted) == len(data)
    return float((predicted == true).mean()), classes
