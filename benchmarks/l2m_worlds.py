"""Speed of what L2M's simulators are asked: evaluation in a batch against one environment after the other, and windows of data.

The policy of the evaluation is a small causal transformer with one forward pass an action dimension, as L2M's, without cached keys
and values. Its time alone is compared (the simulators' is the same either way), so worlds that cost nothing stand for them. One
thread.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from papers.l2m import store
from papers.l2m.rollouts import Floats, Playground, Rows
from papers.l2m.store import Episode
from papers.l2m.trajectories import Trajectories

TASKS, EPISODES, STEPS = 3, 8, 15
STATE, TOKENS, WIDTH = 92, 21, 128  # three steps of seven tokens
BATCH, CONTEXT = 64, 5
TURNS = 3


def measure() -> dict[str, float]:
    """Median ratios over turns, and microseconds."""
    torch.set_num_threads(1)
    ratios, windows = [], []
    tasks = [f"task {number}" for number in range(TASKS)]
    with (
        Playground(tasks, together=TASKS * EPISODES, make=still) as all_at_once,
        Playground(tasks, together=1, make=still) as alone,
    ):
        for _ in range(TURNS):
            batched, one = Transformer(), Transformer()
            all_at_once.play(batched, EPISODES, 0, STEPS)
            alone.play(one, EPISODES, 0, STEPS)
            ratios.append(batched.seconds / one.seconds)
    with tempfile.TemporaryDirectory() as folder:
        data = stored(Path(folder))
        windows = [seconds_of_windows(data) for _ in range(TURNS)]
    return {
        "evaluation: policy seconds, batched / one environment after the other": statistics.median(ratios),
        f"us: {BATCH} windows of {CONTEXT} steps from mapped arrays": 1e6 * statistics.median(windows),
    }


class Still:
    """A world in which nothing moves."""

    def __init__(self, name: str) -> None:
        self.name, self.dims, self.horizon = name, 4, STEPS
        self.state = np.zeros(STATE, dtype=np.float32)

    def reset(self, seed: int) -> Floats:
        """Zeros."""
        return self.state

    def step(self, action: Floats) -> tuple[Floats, float, bool, bool]:
        """(zeros, 0, not solved, not over)."""
        return self.state, 0.0, False, False


def still(task: str, layout: str) -> Still:
    """The world of a task."""
    return Still(task)


class Transformer:
    """Two layers of width 128, four heads; counts the CPU seconds that its calls take."""

    def __init__(self) -> None:
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True)
        self.trunk = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
        self.embed, self.head = nn.Linear(STATE, WIDTH), nn.Linear(WIDTH, 64)
        self.mask = nn.Transformer.generate_square_subsequent_mask(TOKENS)
        self.seconds = 0.0

    def start(self, count: int, tasks: Sequence[int]) -> None:
        """Nothing."""

    @torch.inference_mode()
    def act(self, states: Floats, rows: Rows) -> Floats:
        """Actions [n, 6]: four forward passes, the next action dimension from each."""
        began = time.process_time()
        tokens = self.embed(torch.from_numpy(states))[:, None].repeat(1, TOKENS, 1)
        actions = torch.zeros(len(states), 6)
        for dim in range(4):
            last: Tensor = self.head(self.trunk(tokens, self.mask, is_causal=True)[:, -1])
            actions[:, dim] = (last.argmax(dim=1) + 0.5) / 32 - 1
        found = actions.numpy()
        self.seconds += time.process_time() - began
        return found

    def reward(self, rows: Rows, rewards: Floats) -> None:
        """Nothing."""


def stored(folder: Path) -> Trajectories:
    """A data set of 100 episodes of 100 steps."""
    draws = np.random.default_rng(0)
    states, actions, rewards = (draws.random(shape, dtype=np.float32) for shape in ((100, STATE), (100, 6), (100,)))
    episodes = [Episode(states, actions, rewards, 0.0, True, True)] * 100
    store.write_part(folder, "reach", 0, episodes)
    store.merge(folder, "reach", [0])
    store.write_index(folder, {"tasks": ["reach"], "layout": "disjoint", "versions": {}})
    return Trajectories.open(folder)


def seconds_of_windows(data: Trajectories, times: int = 200) -> float:
    """Seconds to gather the states, actions and rewards of a batch of windows at random places, as tensors."""
    draws = np.random.default_rng(0)
    arrays = (data.states("reach"), data.actions("reach"), data.rewards("reach"))
    began = time.process_time()
    for _ in range(times):
        rows = draws.integers(0, len(arrays[0]) - CONTEXT, BATCH)[:, None] + np.arange(CONTEXT)
        batch = [torch.from_numpy(array[rows]) for array in arrays]
    assert batch[0].shape == (BATCH, CONTEXT, STATE)
    return (time.process_time() - began) / times
