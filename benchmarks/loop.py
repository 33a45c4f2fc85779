"""Speed of the loop against a hand-written one and against the usual way, by turns in one process.

The work of all three: ER on MNIST-shaped images, MLP 784-400-400-10, batch 128 new + 128 replayed, SGD with momentum,
and (with evaluation) the correctness of 1,600 held-out images of two tasks after every update. Times are taken in the
second task only, so that set-up and first calls are in nobody's time.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

BATCH, PER_TASK, TRAIN = 128, 800, 4000
UPDATES = 60  # timed updates a turn
TURNS = 7


def measure() -> dict[str, float]:
    """Ratios of median seconds per update: ours over hand-written (with and without evaluation), usual over ours."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"REPLICATE_RUNS": folder, "REPLICATE_DATA": f"{folder}/data"}
        images, labels = write_mnist_shaped(Path(folder) / "data" / "MNIST" / "raw")
        ways: dict[str, Callable[[int], float]] = {
            "ours": lambda turn: ours(turn, every=1),
            "hand": lambda turn: by_hand(images, labels, evaluate=True),
            "ours, no evaluation": lambda turn: ours(1000 + turn, every=0),
            "hand, no evaluation": lambda turn: by_hand(images, labels, evaluate=False),
            "usual": lambda turn: usual(images, labels),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(TURNS + 1):
            for name, way in ways.items():
                seconds = way(turn)
                if turn:  # the first turn warms up
                    times[name].append(seconds)
    ratios = {
        "loop with evaluation / hand-written": _ratio(times["ours"], times["hand"]),
        "loop without evaluation / hand-written": _ratio(times["ours, no evaluation"], times["hand, no evaluation"]),
        "usual way / loop with evaluation": _ratio(times["usual"], times["ours"]),
    }
    return ratios | {f"ms per update: {name}": 1000 * statistics.median(t) for name, t in times.items()}


def _ratio(first: list[float], second: list[float]) -> float:
    """Median over turns of the ratio within a turn."""
    return statistics.median(a / b for a, b in zip(first, second, strict=True))


def write_mnist_shaped(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 images [N, 28, 28], labels [N]) that were also written as MNIST's own files; test follows train."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2 * (TRAIN + PER_TASK), 28, 28), dtype=np.uint8)
    labels = (np.arange(len(images)) % 4).astype(np.uint8)
    for name, part in (("train", slice(0, 2 * TRAIN)), ("t10k", slice(2 * TRAIN, None))):
        header = np.array([2051, len(images[part]), 28, 28], dtype=">i4").tobytes()
        (folder / f"{name}-images-idx3-ubyte").write_bytes(header + images[part].tobytes())
        header = np.array([2049, len(labels[part])], dtype=">i4").tobytes()
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(header + labels[part].tobytes())
    return images, labels.astype(np.int64)


def ours(seed: int, every: int) -> float:
    """Seconds per update of `common.loop.run`, from a spec to a finished run folder."""
    from common import loop
    from common.resolve import resolve
    from common.streams import data

    raw = {
        "data": "mnist",
        "stream": {"name": "split", "tasks": 2, "classes_per_task": 2},
        "model": {"name": "mlp"},
        "learner": {"name": "er", "memory": 2000},
        "optimiser": {"name": "sgd", "lr": 0.01, "momentum": 0.9},
        "budget": {"iterations": UPDATES + 1, "batch": BATCH},
        "evaluation": {"every": every, "samples": PER_TASK},
        "seed": seed,
    }
    marks: list[float] = []
    loop.run(
        resolve(raw, data.digest("mnist")), loop.Place(device="cpu", watch=lambda *_: marks.append(time.perf_counter()))
    )
    # without evaluation every task still ends with one: leave that last update out
    return (marks[-2] - marks[UPDATES + 1]) / (len(marks) - UPDATES - 3)


def network() -> nn.Sequential:
    """The same perceptron."""
    layers = (nn.Linear(784, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 4))
    return nn.Sequential(nn.Flatten(), *layers)


def by_hand(images: np.ndarray, labels: np.ndarray, evaluate: bool) -> float:
    """Seconds per update of the shortest loop that does the same: tensors in memory, one forward for all tasks."""
    x = ((torch.from_numpy(images).float() / 255) - 0.1307).div_(0.3081)
    y = torch.from_numpy(labels)
    held_x, held_y = x[2 * TRAIN : 2 * TRAIN + 2 * PER_TASK], y[2 * TRAIN : 2 * TRAIN + 2 * PER_TASK]
    new_rows, old_rows = torch.arange(TRAIN, 2 * TRAIN), torch.randperm(TRAIN)[:2000]
    net = network()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    bits, losses = [], []
    order = new_rows[torch.randperm(TRAIN)]
    marks = []
    for step in range(UPDATES + 1):
        start = step * BATCH % (TRAIN - BATCH)
        new, old = order[start : start + BATCH], old_rows[torch.randperm(2000)[:BATCH]]
        logits = net(torch.cat([x[new], x[old]]))
        loss = 0.5 * cross_entropy(logits[:BATCH], y[new]) + 0.5 * cross_entropy(logits[BATCH:], y[old])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if evaluate:
            net.eval()
            with torch.inference_mode():
                bits.append(np.packbits((net(held_x).argmax(1) == held_y).numpy()))
            net.train()
        marks.append(time.perf_counter())
    return (marks[-1] - marks[0]) / UPDATES


class Normalised(Dataset[tuple[Tensor, int]]):
    """Images converted and normalised one by one, as a torchvision data set with transforms does."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = torch.from_numpy(self.images[index]).float().div_(255).sub_(0.1307).div_(0.3081)
        return image, int(self.labels[index])


def usual(images: np.ndarray, labels: np.ndarray) -> float:
    """Seconds per update with loaders: for the new batch, for the replay batch, and one a task for each evaluation."""
    updates = 6
    new = DataLoader(Normalised(images[TRAIN : 2 * TRAIN], labels[TRAIN : 2 * TRAIN]), BATCH, shuffle=True)
    old = DataLoader(Normalised(images[:2000], labels[:2000]), BATCH, shuffle=True)
    held = [slice(2 * TRAIN + k * PER_TASK, 2 * TRAIN + (k + 1) * PER_TASK) for k in range(2)]
    net = network()
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    marks = []
    for step, ((a, ya), (b, yb)) in enumerate(zip(new, old, strict=False)):
        logits = net(torch.cat([a, b]))
        loss = 0.5 * cross_entropy(logits[: len(a)], ya) + 0.5 * cross_entropy(logits[len(a) :], yb)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        net.eval()
        with torch.no_grad():
            for part in held:
                right = sum(
                    int((net(x).argmax(1) == y).sum())
                    for x, y in DataLoader(Normalised(images[part], labels[part]), BATCH)
                )
                assert right >= 0
        net.train()
        marks.append(time.perf_counter())
        if step == updates:
            break
    return (marks[-1] - marks[0]) / updates
