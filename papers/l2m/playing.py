"""Who plays the episodes of a data set: experts with noise, episode by episode, or an agent that learns the task."""

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

BLOCK = {"metaworld": 10, "dmcontrol": 1}  # episodes of a block: a few seconds of work, or one planned episode


@dataclass(frozen=True, kw_only=True)
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
    """How many episodes of the task are played and stored together; an agent's all."""
    return settings.episodes if settings.source == "sac" else BLOCK[domain_of(task)]


class Player:
    """Plays blocks of episodes and stores each as a part."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.world: World | None = None

    def play(self, task: str, first: int) -> None:
        """Nothing; the block of episodes from `first` on is stored."""
        if self.world is None or self.world.name != task:
            self.world = make(task, self.settings.layout)
        if self.settings.source == "sac":
            played = sac.learn(self.world, self.settings.seed, self.settings.episodes, self.settings.steps)
        else:
            last = min(first + block_size(self.settings, task), self.settings.episodes)
            played = [episode(self.world, self.settings, number) for number in range(first, last)]
        store.write_part(self.folder, task, first, played)


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
