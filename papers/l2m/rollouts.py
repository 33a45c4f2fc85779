"""Many episodes of many tasks at once: what a policy is asked, and what came of it.

Every row is an episode with an address (seed, task, number), so all policies meet the same ones. All rows of a group are stepped
together and the policy acts on those that still play. Which rows make a group depends on the request alone, so the outcome
depends neither on the number of processes nor on their order. (Another `together` is another batch for the policy, which may move
its last bits.)
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from common.errors import Problem
from common.rng import generator
from papers.l2m.stage import Hands, Make, Stage

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


class Policy(Protocol):
    """What acts in a batch of episodes."""

    def start(self, count: int, tasks: Sequence[int]) -> None:
        """A new group of `count` rows begins; tasks[i] is the task of row i, by its place in the list of tasks."""

    def act(self, states: Floats, rows: Rows) -> Floats:
        """Actions [n, A] for the states [n, S] of those rows."""

    def reward(self, rows: Rows, rewards: Floats) -> None:
        """Takes the rewards [n] of the step just made."""


@dataclass(frozen=True)
class Outcomes:
    """What became of each episode, [tasks, episodes]: solved at any step, solved at its last step, return, steps."""

    tasks: list[str]
    ever: npt.NDArray[np.bool_]
    last: npt.NDArray[np.bool_]
    returns: Floats
    lengths: npt.NDArray[np.int64]


def episode_seed(seed: int, purpose: str, task: str, episode: int) -> int:
    """The seed of an episode's layout, by its address."""
    return int(generator(seed, purpose, zlib.crc32(task.encode()), episode).integers(2**32))


class Playground:
    """The worlds of some tasks, kept ready in processes over several rounds of episodes. Use it as a context."""

    def __init__(
        self,
        tasks: Sequence[str],
        layout: str = "disjoint",
        processes: int = 1,
        together: int = 64,
        make: Make | None = None,
    ) -> None:
        if min(processes, together) < 1:
            raise Problem(f"processes is {processes} and together is {together}, but both must be at least 1.")
        self.tasks, self.together = list(tasks), together
        self.stage = Hands(layout, processes, make) if processes > 1 else Stage(layout, make)

    def __enter__(self) -> "Playground":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stage.close()

    def play(
        self, policy: Policy, episodes: int, seed: int, horizon: int | None = None, cut_after_success: int | None = None
    ) -> Outcomes:
        """Outcomes of `episodes` episodes of every task.

        horizon: most steps of an episode, None: the task's own. cut_after_success: steps that are still made after the first
        success; it spares time where only `ever` counts, and makes `last` the state of things after those steps.
        """
        plan = [(task, episode) for episode in range(episodes) for task in range(len(self.tasks))]
        ever, last = (np.zeros((len(self.tasks), episodes), dtype=np.bool_) for _ in range(2))
        returns, lengths = np.zeros(ever.shape, dtype=np.float32), np.zeros(ever.shape, dtype=np.int64)
        outcomes = Outcomes(self.tasks, ever, last, returns, lengths)
        wholes: tuple[npt.NDArray[Any], ...] = (ever, last, returns, lengths)
        for first in range(0, len(plan), self.together):
            group = plan[first : first + self.together]
            found = self._group(policy, group, seed, horizon, cut_after_success)
            place = tuple(np.array(group).T)
            for whole, values in zip(wholes, found, strict=True):
                whole[place] = values
        return outcomes

    def _group(
        self, policy: Policy, group: list[tuple[int, int]], seed: int, horizon: int | None, cut: int | None
    ) -> tuple[npt.NDArray[Any], ...]:
        """(ever, last, returns, lengths) of the rows of a group."""
        names = [self.tasks[task] for task, _ in group]
        seeds = [episode_seed(seed, "rollout", name, e) for name, (_, e) in zip(names, group, strict=True)]
        states = self.stage.begin(list(zip(names, seeds, strict=True)))
        policy.start(len(group), [task for task, _ in group])
        ever, last, over = (np.zeros(len(group), dtype=np.bool_) for _ in range(3))
        returns, lengths = np.zeros(len(group)), np.zeros(len(group), dtype=np.int64)
        left = np.full(len(group), np.iinfo(np.int64).max if horizon is None else horizon)
        while len(rows := np.flatnonzero(~over & (left > 0))):
            actions = np.asarray(policy.act(states[rows], rows), dtype=np.float32)
            if not np.isfinite(actions).all():
                raise Problem(f"The policy gave an action that is no number, in an episode of {names[rows[0]]}.")
            states[rows], rewards, success, over[rows] = self.stage.step(rows, actions)
            policy.reward(rows, rewards)
            returns[rows] += rewards
            lengths[rows] += 1
            left[rows] -= 1
            if cut is not None:
                first = rows[success & ~ever[rows]]
                left[first] = np.minimum(left[first], cut)
            ever[rows] |= success
            last[rows] = success
        return ever, last, returns.astype(np.float32), lengths


def rollouts(
    policy: Policy,
    tasks: Sequence[str],
    episodes: int,
    seed: int,
    *,
    layout: str = "disjoint",
    processes: int = 1,
    horizon: int | None = None,
    cut_after_success: int | None = None,
    together: int = 64,
    make: Make | None = None,
) -> Outcomes:
    """Outcomes of one round in a playground of its own. make: builds a world of one's own; it must be a module's function."""
    with Playground(tasks, layout, processes, together, make) as ground:
        return ground.play(policy, episodes, seed, horizon, cut_after_success)
