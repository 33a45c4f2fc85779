"""Who shows how a task is done: Meta-World's scripted policies, and planning for DMControl. All act on one world at a time.

Also the policies that play in batches and need no model: at random, and the scripted experts seen through the states alone.
"""

import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from common.errors import Problem
from common.rng import generator
from papers.l2m.catalogue import ACTIONS, METAWORLD, domain_of
from papers.l2m.layouts import OBSERVATION, layout
from papers.l2m.mpc import Planner
from papers.l2m.worlds import MetaWorld, World, padded

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


class Expert(Protocol):
    """Acts in one episode of one world."""

    def act(self, world: World) -> npt.NDArray[Any]:
        """The next action, in the world's own dimensions."""


class Scripted:
    """Meta-World's scripted policy of a task."""

    def __init__(self, world: World) -> None:
        if not isinstance(world, MetaWorld):
            raise Problem(f"{world.name} is no task of Meta-World: only those have scripted experts.")
        self.policy = scripted(world.name)

    def act(self, world: World) -> npt.NDArray[Any]:
        """The next action [4], clipped to [-1, 1]."""
        return scripted_action(self.policy, world.observation)  # type: ignore[attr-defined]


def expert(world: World, draws: np.random.Generator) -> Expert:
    """The demonstrator for one episode of that world. draws: what planning draws from."""
    return Scripted(world) if domain_of(world.name) == "metaworld" else Planner(world, draws)


def scripted(task: str) -> Any:
    """Meta-World's policy object for a task."""
    from metaworld.policies import ENV_POLICY_MAP

    policy: Any = ENV_POLICY_MAP[f"{task}-v3"]
    return policy()


def scripted_action(policy: Any, observation: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Its action [4], clipped to [-1, 1]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every action that will be clipped
        return np.clip(policy.get_action(np.asarray(observation, dtype=np.float64)), -1, 1)


class RandomPolicy:
    """Uniform actions, drawn by row and step: the lower reference of a score."""

    def __init__(self, seed: int) -> None:
        self.seed, self.draws = seed, list[np.random.Generator]()

    def start(self, count: int, tasks: Sequence[int]) -> None:
        """Nothing; every row has draws of its own."""
        self.draws = [generator(self.seed, "random policy", task, row) for row, task in enumerate(tasks)]

    def act(self, states: Floats, rows: Rows) -> Floats:
        """Actions [n, 6]."""
        return np.stack([self.draws[row].uniform(-1, 1, ACTIONS) for row in rows]).astype(np.float32)

    def reward(self, rows: Rows, rewards: Floats) -> None:
        """Nothing; it learns nothing."""


class ScriptedPolicy:
    """Meta-World's scripted policies in a batch: the upper reference of a success rate. Errors: Problem for tasks of DMControl."""

    def __init__(self, tasks: Sequence[str], layout_name: str = "disjoint") -> None:
        without = [task for task in tasks if task not in METAWORLD]
        if without:
            raise Problem(f"{', '.join(without)}: no task of Meta-World, and only those have scripted experts.")
        self.names, self.layout, self.policies = list(tasks), layout(layout_name), list[Any]()

    def start(self, count: int, tasks: Sequence[int]) -> None:
        """Nothing; every row has a policy of its own."""
        self.policies = [scripted(self.names[task]) for task in tasks]

    def act(self, states: Floats, rows: Rows) -> Floats:
        """Actions [n, 6]."""
        observations = self.layout.part(states, OBSERVATION)
        return np.stack(
            [padded(scripted_action(self.policies[row], seen)) for row, seen in zip(rows, observations, strict=True)]
        )

    def reward(self, rows: Rows, rewards: Floats) -> None:
        """Nothing; the experts go by states alone."""
