"""Who plays the episodes of a data set: experts with noise, episode by episode, or an agent that learns the task."""

import itertools
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from common.rng import generator
from papers.l2m import sac, store
from papers.l2m.catalogue import domain_of
from papers.l2m.experts import expert
from papers.l2m.rollouts import episode_seed
from papers.l2m.store import Episode
from papers.l2m.worlds import World, make, padded

LEARNED = 100  # episodes of a block of what an agent plays
BLOCK = {"metaworld": 10, "dmcontrol": 1}  # episodes of a block: a few seconds of work, or one planned episode


@dataclass(frozen=True)
class Settings:
    """What is collected. tasks: names, or splits (MT40, CW10, DMC10, DMC6). episodes: of each task.

    steps: most of an episode (None: 200 of Meta-World, 1000 of DMControl). noise: standard deviations of the Gaussian noise on
    actions, taken in turn. layout: of the state vector. cut_after_success: steps still played after the first success (None: to
    the end). source: scripted experts and planning, or agents while they learn (all their episodes; neither noise nor cut).
    """

    tasks: list[str]
    episodes: int
    steps: int | None
    noise: list[float]
    layout: str
    cut_after_success: int | None
    seed: int
    source: Literal["experts", "sac"] = "experts"


def block_size(settings: Settings, task: str) -> int:
    """How many episodes of the task are stored together."""
    return LEARNED if settings.source == "sac" else BLOCK[domain_of(task)]


def sittings(settings: Settings, task: str) -> dict[int, int]:
    """First episode -> how many are played in one go: a block, or all that an agent plays."""
    size = settings.episodes if settings.source == "sac" else block_size(settings, task)
    return {first: min(size, settings.episodes - first) for first in range(0, settings.episodes, size)}


class Player:
    """Plays blocks of episodes and stores each as a part."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.world: World | None = None

    def play(self, task: str, first: int) -> None:
        """Nothing; the episodes of the sitting that begins with `first` are stored."""
        if self.world is None or self.world.name != task:
            self.world = make(task, self.settings.layout)
        if self.settings.source == "sac":
            self._learn(task)
        else:
            numbers = range(first, first + sittings(self.settings, task)[first])
            store.write_part(self.folder, task, first, [episode(self.world, self.settings, n) for n in numbers])

    def _learn(self, task: str) -> None:
        """Nothing; all that an agent plays is stored, the first block last: once it is there, they all are."""
        assert self.world is not None
        played = sac.learn(self.world, self.settings.seed, self.settings.episodes, self.settings.steps)
        opening = list(itertools.islice(played, LEARNED))
        for first in range(LEARNED, self.settings.episodes, LEARNED):
            store.write_part(self.folder, task, first, list(itertools.islice(played, LEARNED)))
        store.write_part(self.folder, task, 0, opening)


def episode(world: World, settings: Settings, number: int) -> Episode:
    """What the expert of that world did in an episode: states before each action, actions with their noise, rewards, success."""
    address = zlib.crc32(world.name.encode())
    noise = settings.noise[number % len(settings.noise)]
    shakes = generator(settings.seed, "action noise", address, number)
    shows = expert(world, generator(settings.seed, "plan", address, number))
    state = world.reset(episode_seed(settings.seed, "collect", world.name, number))
    left = min(settings.steps or world.horizon, world.horizon)
    states, actions, rewards, ever, success, over = [], [], [], False, False, False
    while left and not over:
        action = padded(shows.act(world) + noise * shakes.standard_normal(world.dims))
        states.append(state)
        actions.append(action)
        state, reward, success, over = world.step(action)
        rewards.append(reward)
        left -= 1
        if success and not ever:
            ever = True
            left = left if settings.cut_after_success is None else min(left, settings.cut_after_success)
    return Episode(np.stack(states), np.stack(actions), np.array(rewards, dtype=np.float32), noise, ever, success)
