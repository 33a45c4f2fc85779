"""Reads what the paper's authors released: one .npz a task, of Meta-World's own 39 numbers or of the paper's 204.

Those arrays know neither noise nor success, so the noise is NaN and success False.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import Problem
from papers.l2m import store
from papers.l2m.catalogue import ACTIONS, action_dims, domain_of, task_name
from papers.l2m.layouts import LAYOUTS, OBSERVATION, OBSERVATION_WIDTH, Layout, layout
from papers.l2m.store import Episode
from papers.l2m.trajectories import Trajectories

PICKLES = (".pkl", ".pickle", ".joblib")
ARRAYS = ("observations", "actions", "rewards", "dones")


def import_released(files: dict[str, Path], folder: Path, layout_name: str) -> Trajectories:
    """The data set written to `folder` from released .npz files, task -> file: observations, actions, rewards, dones.

    Observations have Meta-World's 39 numbers or the paper's 204. Errors: Problem for pickles, other keys, shapes and cut files.
    """
    shape = layout(layout_name)
    for task, path in files.items():
        store.write_part(folder, task_name(task), 0, list(_released(path, task_name(task), shape)))
        store.merge(folder, task_name(task), [0])
    names = [task_name(task) for task in files]
    store.write_index(folder, {"tasks": names, "layout": layout_name, "versions": {}, "imported": "released arrays"})
    return Trajectories.open(folder, names, layout_name)


def _released(path: Path, task: str, shape: Layout) -> Iterator[Episode]:
    """The episodes of a released file."""
    if path.suffix in PICKLES:
        raise Problem(
            f"{path} is a pickle, and loading one runs whatever code it holds. Take the .npz form of the release, or, where you "
            "trust it, unpickle it yourself and save observations, actions, rewards and dones with numpy.savez."
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ARRAYS}
    except Exception as error:  # numpy raises many kinds for files that are no arrays, and zlib its own
        raise Problem(
            f"{path} has no arrays observations, actions, rewards and dones, or is cut short ({error})."
        ) from error
    rows = len(arrays["rewards"])
    states = converted(arrays["observations"].reshape(rows, -1), task, shape)
    actions = np.zeros((rows, ACTIONS), dtype=np.float32)
    given = arrays["actions"].reshape(rows, -1)
    if given.shape[1] not in (action_dims(task), ACTIONS):
        raise Problem(
            f"{path}: actions of {task} have {given.shape[1]} numbers, but need {action_dims(task)} (or {ACTIONS})."
        )
    actions[:, : action_dims(task)] = given[:, : action_dims(task)]
    rewards, ends = (
        arrays["rewards"].reshape(rows).astype(np.float32),
        np.flatnonzero(arrays["dones"].reshape(rows)) + 1,
    )
    edges = np.unique(np.concatenate([[0], ends, [rows]]))
    for first, end in itertools.pairwise(edges):
        part = slice(first, end)
        yield Episode(states[part], actions[part], rewards[part], float("nan"), False, False)


def converted(observations: npt.NDArray[Any], task: str, shape: Layout) -> npt.NDArray[np.float32]:
    """float32 [n, S] in that layout, from Meta-World's own 39 numbers or from the paper's 204."""
    paper, width = LAYOUTS["paper"], observations.shape[1]
    if width not in (OBSERVATION_WIDTH, paper.size) or (width == OBSERVATION_WIDTH and domain_of(task) != "metaworld"):
        raise Problem(f"States of {task} have {width} numbers, but the released ones have 204, or 39 of Meta-World.")
    if domain_of(task) == "metaworld":
        keys = [OBSERVATION]
    else:
        keys = [key for key in shape.slots if key != OBSERVATION]
    states = np.zeros((len(observations), shape.size), dtype=np.float32)
    for key in keys:
        (source, _), (first, places) = paper.slots[key], shape.slots[key]
        states[:, first : first + places] = observations[:, source : source + places]
    return states
