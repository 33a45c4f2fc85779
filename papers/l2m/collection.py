"""Collects a data set: experts play every task at several noise levels, and what they did is stored (playing.py, store.py).

Each episode has an address (seed, task, number) for its layout, its noise and its planning, and is played the same wherever
and whenever that is: interrupted, resumed, on one process or many, the stored bytes are equal. Episodes are played in small
blocks of one task, whose files lie in parts/ until the task is whole.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from common.errors import Problem
from common.files import read_json, write_json
from papers.l2m import store
from papers.l2m.catalogue import task_names, versions
from papers.l2m.layouts import layout
from papers.l2m.playing import Player, Settings, block_size
from papers.l2m.servants import Servant, close

VERSION = 1  # raised when the same settings give other episodes
LOOKED_AT = 0.5  # seconds between two looks at whether to stop


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
        lambda: found.update(versions(tasks, settings.source) if tasks else {}),
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
    if settings.source not in ("experts", "sac"):
        wrong.append(f"source is '{settings.source}', but must be experts or sac.")
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
    sizes = {task: block_size(settings, task) for task in tasks}
    blocks = {task: list(range(0, episodes, sizes[task])) for task in tasks}
    waiting = [(task, first) for task in tasks for first in blocks[task] if not store.there(folder, task, first)]
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
