"""ER with an evaluation after every update: Avalanche's loop and ours, by turns in one process.

The work is that of `benchmarks.loop`: two tasks of MNIST-shaped images, MLP 784-400-400-4, 128 new and 128 replayed images
an update, SGD with momentum, 1,600 held-out images of two tasks after each update; times are taken in the second task.
Avalanche runs twice: on its own `SplitMNIST` as it ships, which normalises an image whenever it is taken, and with every ease
(`tensors`): images normalised beforehand, in memory. Both have no loggers, accuracy as their only metric, and a whole task's
held-out images as one batch. Avalanche is an extra: `pip install -e '.[avalanche]'`.
"""

import importlib.util
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.loop import BATCH, PER_TASK, TRAIN, network, ours, write_mnist_shaped

TURNS = 4  # the first warms up


def installed() -> bool:
    """Whether the extra `avalanche` is there."""
    return importlib.util.find_spec("avalanche") is not None


def measure() -> dict[str, float]:
    """Ratios of Avalanche's seconds per update to ours, medians over turns; nothing without the extra."""
    if not installed():
        return {}
    torch.set_num_threads(1)
    ratios: dict[str, list[float]] = {"Avalanche / ours": [], "Avalanche on tensors / ours": []}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Avalanche's own: deprecations, "no loggers"
        os.environ |= {"REPLICATE_RUNS": folder, "REPLICATE_DATA": f"{folder}/data"}
        images, labels = write_mnist_shaped(Path(folder) / "data" / "MNIST" / "raw")
        for turn in range(TURNS):
            own = ours(turn, every=1)
            others = by_avalanche(as_shipped(Path(folder) / "data")), by_avalanche(on_tensors(images, labels))
            for name, seconds in zip(ratios, others, strict=True):
                ratios[name] += [seconds / own] if turn else []
    return {f"ER with evaluation at every update: {name}": statistics.median(r) for name, r in ratios.items()}


def by_avalanche(benchmark: Any) -> float:
    """Seconds per update of Avalanche's strategy `Replay` in its second task, with the evaluation that follows."""
    from avalanche.core import SupervisedPlugin
    from avalanche.evaluation.metrics import accuracy_metrics
    from avalanche.training.plugins import EvaluationPlugin
    from avalanche.training.supervised import Replay

    class Clock(SupervisedPlugin):
        """When each update began."""

        def __init__(self) -> None:
            super().__init__()
            self.marks: list[float] = []

        def before_training_iteration(self, *_: object, **__: object) -> None:
            self.marks.append(time.perf_counter())

    net, clock = network(), Clock()
    strategy = Replay(
        model=net,
        optimizer=torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9),
        criterion=nn.CrossEntropyLoss(),
        mem_size=2000,
        train_mb_size=BATCH,
        eval_mb_size=PER_TASK,
        plugins=[clock],
        evaluator=EvaluationPlugin(accuracy_metrics(experience=True), loggers=[]),
        eval_every=1,
        peval_mode="iteration",
    )
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    clock.marks.clear()
    strategy.train(benchmark.train_stream[1], eval_streams=[benchmark.test_stream])
    return (clock.marks[-1] - clock.marks[0]) / (len(clock.marks) - 1)


def as_shipped(root: Path) -> Any:
    """Avalanche's `SplitMNIST` in two tasks, from the files below `root`."""
    from avalanche.benchmarks.classic import SplitMNIST

    return SplitMNIST(2, fixed_class_order=[0, 1, 2, 3], dataset_root=root)


def on_tensors(images: np.ndarray, labels: np.ndarray) -> Any:
    """The same two tasks from images that are normalised already."""
    from avalanche.benchmarks import tensors_benchmark

    x, y = ((torch.from_numpy(images).float() / 255) - 0.1307).div_(0.3081), torch.from_numpy(labels)
    shown, held = range(2 * TRAIN), range(2 * TRAIN, len(y))
    parts = [[[row for row in rows if labels[row] // 2 == task] for task in (0, 1)] for rows in (shown, held)]
    return tensors_benchmark(*[[(x[rows], y[rows]) for rows in tasks] for tasks in parts], task_labels=[0, 0])
