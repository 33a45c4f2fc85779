"""L2M's updates and its acting policy, by turns in one process on one thread.

The work: a policy of two layers of width 128, windows of three time steps with 4 action tokens, batch 64, drawn from mapped arrays.
An update by hand is what a reader would write: forward, cross-entropy, backward, clipping, AdamW. One LoRA for all samples is
compared with a pool of which every sample takes its own; acting for 64 episodes at once with acting for one after the other.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from common.files import write_json

TASKS, EPISODES, STEPS, STATES, BATCH, ROWS = ("a", "b", "c"), 20, 100, 92, 64, 64
TURNS, UPDATES = 7, 12


def measure() -> dict[str, float]:
    """Median ratios within a turn, and the share of an update that goes into gathering its windows."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        _data(Path(folder))
        ways = _ways(Path(folder))
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(TURNS + 1):
            for name, way in ways.items():
                began = time.process_time()
                way()
                if turn:  # the first turn warms up
                    seconds[name].append(time.process_time() - began)
    ratios = {
        "L2M update / hand-written": ("update", "by hand"),
        "L2M: modulators of each sample / one for all": ("pool", "one LoRA"),
        "L2M: windows gathered / update": ("windows", "update"),
        "L2M: acting one after the other / at once": ("one after the other", "at once"),
    }
    found = {
        words: statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True))
        for words, (one, other) in ratios.items()
    }
    return found | {"ms: L2M update": 1000 * statistics.median(seconds["update"]) / UPDATES}


def _ways(folder: Path) -> dict[str, Callable[[], object]]:
    fine, hand = _learner(folder, "finetune"), _learner(folder, "finetune")
    pool, one = _learner(folder, "pool"), _learner(folder, "one")
    step = iter(range(10**9))

    def updates(learner: Any) -> None:
        task = learner.data.stream.tasks[0]
        for _ in range(UPDATES):
            learner.update(learner.data.batch(learner.data.drawn(task, next(step), BATCH, 0)))

    def windows() -> None:
        task = fine.data.stream.tasks[0]
        for _ in range(UPDATES):
            fine.data.batch(fine.data.drawn(task, next(step), BATCH, 0))

    return {
        "update": lambda: updates(fine),
        "by hand": lambda: _by_hand(hand, step),
        "pool": lambda: updates(pool),
        "one LoRA": lambda: updates(one),
        "windows": windows,
        "at once": lambda: _act(fine, [list(range(ROWS))]),
        "one after the other": lambda: _act(fine, [[row] for row in range(ROWS)]),
    }


def _by_hand(learner: Any, step: Iterator[int]) -> None:
    """The update of full fine-tuning as one would write it, on the same windows."""
    net, data, optimiser = learner.net, learner.data, learner.optimiser
    task = data.stream.tasks[0]
    for _ in range(UPDATES):
        batch = data.batch(data.drawn(task, next(step), BATCH, 0))
        loss = cross_entropy(net(batch.x).flatten(0, 2), batch.y.flatten(), ignore_index=-100)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learner.live.values(), 0.25)
        optimiser.step()


def _act(learner: Any, groups: list[list[int]], steps: int = 3) -> None:
    """A few time steps of 64 episodes, in groups."""
    from papers.l2m.policy import Acting

    states = np.random.default_rng(0).standard_normal((steps, ROWS, STATES)).astype(np.float32)
    books = [learner.data.shelf[name] for name in TASKS]
    learner.net.eval()
    for rows in groups:
        policy = Acting(learner.net, learner.modulation, books, 3)
        policy.start(len(rows), [row % len(TASKS) for row in rows])
        own = np.arange(len(rows))
        for step in range(steps):
            policy.act(states[step, rows], own)
            policy.reward(own, np.zeros(len(rows), dtype=np.float32))
    learner.net.train()


def _learner(folder: Path, kind: str) -> Any:
    from common.learners.base import Setup
    from common.schedules import adamw_scheduled
    from papers.l2m.bins import BINS
    from papers.l2m.learners.finetuning import FineTune
    from papers.l2m.learners.pools import Pool
    from papers.l2m.learners.single import Single
    from papers.l2m.model import mddt
    from papers.l2m.sequences import sequences

    stream = sequences(
        folder,
        0,
        learn=list(TASKS),
        play=list(TASKS),
        joint=True,
        context=3,
        actions=4,
        layout=str(STATES),
        worlds="none",
    )
    data = stream.resident("cpu")
    torch.manual_seed(0)
    net = mddt(data.shape, BINS, width=128, depth=2, attention_heads=4, dropout=0.0, types=True)
    setup = Setup(net, adamw_scheduled(net.parameters(), lr=1e-4), data, 0)
    learner: Any = (
        FineTune(setup)
        if kind == "finetune"
        else Pool(setup, pool=15)
        if kind == "pool"
        else Single(setup, kind="lora")
    )
    learner.begin(stream.tasks[0])
    return learner


def _data(folder: Path) -> None:
    """Trajectories of noise in the stored form."""
    from papers.l2m.store import FORMAT

    draws, rows = np.random.default_rng(0), EPISODES * STEPS
    starts = np.arange(EPISODES + 1) * STEPS
    for name in TASKS:
        (folder / name).mkdir()
        arrays = {
            "states": draws.standard_normal((rows, STATES)),
            "actions": draws.uniform(-1, 1, (rows, 6)),
            "rewards": draws.uniform(0, 1, rows),
        }
        for word, values in arrays.items():
            np.save(folder / name / f"{word}.npy", values.astype(np.float32))
        flags = {word: np.ones(EPISODES, dtype=bool) for word in ("ever", "last")}
        sums = arrays["rewards"].reshape(EPISODES, STEPS).sum(1).astype(np.float32)
        table: dict[str, Any] = {"starts": starts, "noise": np.zeros(EPISODES), "returns": sums, **flags}
        np.savez(folder / name / "episodes.npz", **table)
    about = {"domain": "none", "dims": 4, "steps": rows, "episodes": EPISODES, "sha256": {}}
    whole = {"format": FORMAT, "layout": "none", "state": STATES, "action": 6, "versions": {}}
    write_json(folder / "index.json", whole | {"tasks": dict.fromkeys(TASKS, about)})
