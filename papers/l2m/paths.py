"""One episode of each task as it was played: where the hand of the robot was, step by step."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from papers.l2m.catalogue import METAWORLD
from papers.l2m.experts import ScriptedPolicy
from papers.l2m.layouts import OBSERVATION, layout
from papers.l2m.learners.cloning import Cloning, ground
from papers.l2m.policy import Acting
from papers.l2m.rollouts import Policy

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


class Recorded:
    """A policy that keeps the states it is asked about, those of each row in order."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.states: list[list[Floats]] = []

    def start(self, count: int, tasks: Sequence[int]) -> None:
        """A new group begins; what was kept of the last one is forgotten."""
        self.states = [[] for _ in range(count)]
        self.policy.start(count, tasks)

    def act(self, states: Floats, rows: Rows) -> Floats:
        """The policy's actions [n, A]."""
        for row, state in zip(rows, states, strict=True):
            self.states[row].append(state.copy())
        return self.policy.act(states, rows)

    def reward(self, rows: Rows, rewards: Floats) -> None:
        """The policy is told."""
        self.policy.reward(rows, rewards)


def paths(learner: Cloning) -> Iterator[dict[str, Any]]:
    """Facts `path` (the learner acts) and `expert_path` (the scripted expert does) of the first episode that measures each learned
    task: task, other (step), x, y and value (height) of the hand, metres. None where a task of DMControl is played."""
    stream = learner.data.stream
    if stream.worlds.make or not set(stream.played) <= set(METAWORLD):
        return
    worlds, place = ground(tuple(stream.played), stream.worlds), layout(stream.worlds.layout)
    books = [stream.shelf[name] for name in stream.played]
    acting = Acting(learner.net, learner.modulation, books, learner.data.context)
    expert = ScriptedPolicy(stream.played, stream.worlds.layout)
    for quantity, policy in (("path", Recorded(acting)), ("expert_path", Recorded(expert))):
        worlds.play(policy, 1, learner.seed, stream.worlds.horizon)
        for name, states in zip(stream.played, policy.states, strict=True):
            if not any(name in groups[0] for groups in stream.learned):
                continue
            for step, (x, y, z) in enumerate(place.part(np.stack(states), OBSERVATION)[:, :3].tolist()):
                yield {"quantity": quantity, "task": name, "other": step, "x": x, "y": y, "value": z}
