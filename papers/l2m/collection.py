"""Collects a data set: experts play every task at several noise levels, and what they did is stored (playing.py, store.py).

Each episode has an address (seed, task, number) for its layout, its noise and its planning, and is played the same wherever
and whenever that is: interrupted, resumed, on one process or many, the stored bytes are equal. Episodes are played in small
blocks of one task, whose files lie in parts/ until the task is whole.
"""

import json
from collections import Counter
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
from papers.l2m.playing import Player, Settings, block_size, sittings
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
    sizes = {(task, first): many for task in plan["tasks"] for first, many in sittings(settings, task).items()}
    waiting = [sitting for sitting in sizes if not store.there(folder, *sitting)]
    missing = Counter(task for task, _ in waiting)
    total = sum(sizes.values())
    done = total - sum(sizes[sitting] for sitting in waiting)

    def over(task: str, first: int) -> None:
        nonlocal done
        done += sizes[task, first]
        missing[task] -= 1
        if not missing[task]:
            _join(folder, settings, task)

    def leave() -> bool:
        watch(done, total)
        return stop()

    for task in plan["tasks"]:
        if not missing[task]:  # all was played, but perhaps not joined
            _join(folder, settings, task)
    if not _played(folder, settings, waiting, over, leave, processes):
        return False
    watch(done, total)
    store.finish(folder, plan)
    return True


def _join(folder: Path, settings: Settings, task: str) -> None:
    """Nothing; the blocks of a task are one."""
    store.merge(folder, task, range(0, settings.episodes, block_size(settings, task)))


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
    leave: Callable[[], bool],
    processes: int,
) -> bool:
    """Whether all was played; `over` is told of each sitting. In this process, or divided among several."""
    if min(processes, len(waiting)) <= 1:
        player = Player(folder, settings)
        for task, first in waiting:
            if leave():
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
            if leave():
                return False
        return True
    finally:
        close(servants)
