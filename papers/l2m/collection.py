"""Collects a data set: experts play every task at several noise levels, and what they did is stored (papers/l2m/store.py).

Each episode has an address (seed, task, number) for its layout, its noise and its planning, and is played the same wherever
and whenever that is: interrupted, resumed, on one process or many, the stored bytes are equal. Episodes are played in small
blocks of one task, whose files lie in parts/ until the task is whole.
"""

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import Problem
from common.files import read_json, write_json
from common.rng import generator
from papers.l2m import store
from papers.l2m.catalogue import domain_of, task_names, versions
from papers.l2m.experts import expert
from papers.l2m.layouts import layout
from papers.l2m.rollouts import episode_seed
from papers.l2m.servants import Servant, close
from papers.l2m.store import Episode
from papers.l2m.worlds import World, make, padded

VERSION = 1  # raised when the same settings give other episodes
BLOCK = {"metaworld": 10, "dmcontrol": 1}  # episodes of a block: a few seconds of work, or one planned episode
LOOKED_AT = 0.5  # seconds between two looks at whether to stop


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is collected. tasks: names, or splits (MT40, CW10, DMC10, DMC6). episodes: of each task.

    steps: most of an episode (None: 200 of Meta-World, 1000 of DMControl). noise: standard deviations of the Gaussian noise on
    actions, taken in turn. layout: of the state vector. cut_after_success: steps still played after the first success (None: to
    the end).
    """

    tasks: list[str]
    episodes: int
    steps: int | None
    noise: list[float]
    layout: str
    cut_after_success: int | None
    seed: int


def identity(settings: Settings) -> dict[str, Any]:
    """What the data set depends on, in normal form: the settings, the simulators' versions, the collector's.

    Errors: Problem for all that is wrong with the settings or the installed simulators. Imports no simulator.
    """
    problems: list[str] = []
    tasks: list[str] = []
    found: dict[str, str] = {}
    checks: list[Callable[[], Any]] = [
        lambda: tasks.extend(task_names(settings.tasks)),
        lambda: layout(settings.layout),
        lambda: _numbers(settings),
        lambda: found.update(versions(tasks) if tasks else {}),
    ]
    for check in checks:
        try:
            check()
        except Problem as problem:
            problems += problem.messages
    if problems:
        raise Problem(*problems)
    noise = [float(level) for level in settings.noise]
    return {**asdict(settings), "tasks": tasks, "noise": noise, "versions": found, "collector": VERSION}


def _numbers(settings: Settings) -> None:
    """Nothing. Errors: Problem for numbers that cannot be."""
    wrong = []
    if settings.episodes < 1:
        wrong.append(f"episodes is {settings.episodes}, but must be at least 1.")
    if settings.steps is not None and settings.steps < 1:
        wrong.append(f"steps is {settings.steps}, but must be at least 1 (or null: the task's own).")
    if settings.cut_after_success is not None and settings.cut_after_success < 0:
        wrong.append(f"cut_after_success is {settings.cut_after_success}, but must be at least 0 (or null: never).")
    if not settings.noise or not all(0 <= level <= 2 for level in settings.noise):
        wrong.append(f"noise is {settings.noise}, but must be one level or more, each from 0 to 2.")
    if wrong:
        raise Problem(*wrong)


def collect(
    folder: Path,
    settings: Settings,
    watch: Callable[[int, int], None] = lambda done, total: None,
    stop: Callable[[], bool] = lambda: False,
    processes: int = 1,
) -> bool:
    """Whether the data set in `folder` is whole: False when `stop` asked to leave; the same call goes on from there.

    watch: told (episodes done, in all). Errors: Problem, for an expert that never succeeds too (what was collected stays).
    """
    plan = identity(settings)
    _same_request(folder, plan)
    if (folder / "index.json").exists():
        return True
    tasks, episodes = plan["tasks"], settings.episodes
    blocks = {task: list(range(0, episodes, BLOCK[domain_of(task)])) for task in tasks}
    waiting = [(task, first) for task in tasks for first in blocks[task] if not store.there(folder, task, first)]
    sizes = {task: BLOCK[domain_of(task)] for task in tasks}
    done = len(tasks) * episodes - sum(min(sizes[task], episodes - first) for task, first in waiting)
    watch(done, len(tasks) * episodes)

    def over(task: str, first: int) -> None:
        nonlocal done
        done += min(sizes[task], episodes - first)
        if all(store.there(folder, task, other) for other in blocks[task]):
            store.merge(folder, task, blocks[task])
        watch(done, len(tasks) * episodes)

    for task in tasks:  # whole, but its parts were not joined yet
        if all(store.there(folder, task, first) for first in blocks[task]):
            store.merge(folder, task, blocks[task])
    if not _played(folder, settings, waiting, over, stop, processes):
        return False
    store.finish(folder, plan)
    return True


def _same_request(folder: Path, plan: dict[str, Any]) -> None:
    """Nothing; the folder is for that data set. Errors: Problem when another one was begun there."""
    path = folder / "settings.json"
    plan = json.loads(json.dumps(plan))
    if not path.exists():
        write_json(path, plan)
    elif (other := read_json(path)) != plan:
        keys = ", ".join(sorted(key for key in plan.keys() | other.keys() if plan.get(key) != other.get(key)))
        raise Problem(
            f"{folder} holds a data set collected with another {keys}. Name another folder, or move this one away."
        )


def _played(
    folder: Path,
    settings: Settings,
    waiting: Sequence[tuple[str, int]],
    over: Callable[[str, int], None],
    stop: Callable[[], bool],
    processes: int,
) -> bool:
    """Whether all blocks were played; `over` is told of each. In this process, or divided among several."""
    if min(processes, len(waiting)) <= 1:
        player = Player(folder, settings)
        for task, first in waiting:
            if stop():
                return False
            player.play(task, first)
            over(task, first)
        return True
    servants: list[Servant] = []
    left, at_work = list(waiting), dict[int, tuple[str, int]]()
    try:
        for _ in range(min(processes, len(waiting))):
            servants.append(Servant(Player, folder, settings))
        while left or at_work:
            for k, servant in enumerate(servants):
                if left and k not in at_work:
                    at_work[k] = left.pop(0)
                    servant.tell("play", *at_work[k])
            ready = wait([servants[k].pipe for k in at_work], LOOKED_AT)
            for k in [k for k in at_work if servants[k].pipe in ready]:
                servants[k].answer()
                over(*at_work.pop(k))
            if stop():
                return False
        return True
    finally:
        close(servants)


class Player:
    """Plays blocks of episodes and stores each as a part."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings = folder, settings
        self.world: World | None = None

    def play(self, task: str, first: int) -> None:
        """Nothing; the block of episodes from `first` on is stored."""
        if self.world is None or self.world.name != task:
            self.world = make(task, self.settings.layout)
        last = min(first + BLOCK[domain_of(task)], self.settings.episodes)
        store.write_part(self.folder, task, first, [episode(self.world, self.settings, n) for n in range(first, last)])


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
