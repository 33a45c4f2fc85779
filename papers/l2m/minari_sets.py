"""Minari's data sets: what is stored written in that format, and read back.

Minari wants the state after the last action too, which is not stored: the last state of an episode stands there twice.
"""

import contextlib
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import Problem
from papers.l2m import store
from papers.l2m.catalogue import ACTIONS, task_name
from papers.l2m.layouts import Layout, layout
from papers.l2m.store import Episode
from papers.l2m.trajectories import Trajectories

NAMESPACE = "l2m"
UNKNOWN = {"noise": float("nan"), "ever": False, "last": False}  # where another's data set does not say


def export_minari(data: Trajectories, folder: Path) -> list[str]:
    """Minari's names of the data sets written below `folder`, one a task; load them with MINARI_DATASETS_PATH=folder.

    Errors: Problem when Minari is not installed or the folder has them already.
    """
    minari = _minari()
    from gymnasium.spaces import Box

    if (folder / NAMESPACE).exists():
        raise Problem(f"{folder / NAMESPACE} is there already. Name another folder, or move it away.")
    state = Box(-np.inf, np.inf, (data.index["state"],), np.float32)
    action = Box(-1.0, 1.0, (data.index["action"],), np.float32)
    new = folder / f".{NAMESPACE}.new"  # a name that Minari failed with stays blocked, so nothing is made in place
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    with _root(new), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # it would have an author, a permanent link and an environment of every data set
        for task in data.tasks:
            minari.create_dataset_from_buffers(
                f"{NAMESPACE}/{task}-v0", list(_buffers(data, task)), observation_space=state, action_space=action,
                algorithm_name="expert with noise", description=f"{task}, states in layout {data.index['layout']}; "
                "the last state of an episode stands twice", data_format="hdf5", requirements=_requirements(data),
            )  # fmt: skip
    os.replace(new / NAMESPACE, folder / NAMESPACE)
    shutil.rmtree(new)
    return [f"{NAMESPACE}/{task}-v0" for task in data.tasks]


def import_minari(source: Path, folder: Path, tasks: Iterable[str], layout_name: str) -> Trajectories:
    """The data set written to `folder` from Minari's l2m/<task>-v0 below `source`.

    Errors: Problem when Minari or one of them is missing, or when states are of other widths than the layout.
    """
    minari = _minari()
    shape, names = layout(layout_name), [task_name(task) for task in tasks]
    with _root(source):
        for task in names:
            try:
                stored = minari.load_dataset(f"{NAMESPACE}/{task}-v0")
            except (FileNotFoundError, ValueError) as error:
                raise Problem(f"There is no Minari data set {NAMESPACE}/{task}-v0 in {source} ({error}).") from error
            store.write_part(folder, task, 0, [_from_minari(episode, task, shape) for episode in stored])
            store.merge(folder, task, [0])
    store.write_index(folder, {"tasks": names, "layout": layout_name, "versions": {}, "imported": "Minari"})
    return Trajectories.open(folder, names, layout_name)


def _buffers(data: Trajectories, task: str) -> Iterator[Any]:
    """Minari's form of each episode of a task."""
    from minari.data_collector import EpisodeBuffer

    states, actions, rewards, table = data.states(task), data.actions(task), data.rewards(task), data.episodes(task)
    for number, (first, end) in enumerate(zip(table.starts[:-1], table.starts[1:], strict=True)):
        seen = np.concatenate([states[first:end], states[end - 1 : end]])
        over = np.arange(end - first) == end - first - 1
        about = {name: np.full(len(seen), getattr(table, name)[number]) for name in ("noise", "ever", "last")}
        yield EpisodeBuffer(
            id=number, observations=seen, actions=np.array(actions[first:end]), rewards=list(rewards[first:end]),
            terminations=[False] * len(over), truncations=list(over), infos=about,
        )  # fmt: skip


def _from_minari(episode: Any, task: str, shape: Layout) -> Episode:
    """An episode of Minari's, without the state after its last action."""
    columns = (episode.observations[:-1], episode.actions, episode.rewards)
    states, actions, rewards = (np.asarray(column, dtype=np.float32) for column in columns)
    if states.shape[1] != shape.size or actions.shape[1] != ACTIONS:
        raise Problem(
            f"{task}: states of {states.shape[1]} numbers and actions of {actions.shape[1]}, but layout {shape.name} needs "
            f"{shape.size} and {ACTIONS}."
        )
    about = episode.infos or {}
    facts = {name: np.ravel(about.get(name, [default]))[0] for name, default in UNKNOWN.items()}
    return Episode(
        states, actions, rewards, float(facts["noise"]), bool(facts["ever"]), bool(facts["last"])
    )  # fmt: skip


def _requirements(data: Trajectories) -> list[str]:
    return [f"{package}=={version}" for package, version in data.index["versions"].items()]


def _minari() -> Any:
    try:
        import h5py
        import minari
    except ImportError as error:
        raise Problem(
            f"{error.name} is not installed, which Minari's data sets need. Install both: pip install 'minari>=0.5.3' 'h5py>=3.12'."
        ) from error
    assert h5py
    return minari


@contextlib.contextmanager
def _root(folder: Path) -> Iterator[None]:
    """Minari's root folder is `folder` for the length of a `with` block; it is told by the environment alone."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(folder.absolute())
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before
