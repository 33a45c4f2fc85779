"""A stored data set as its reader sees it: arrays mapped into memory, checked when they are opened.

Opening checks that every file is there, whole and of the shape that the index says, without reading the arrays; `check` reads every
byte. The digest is that of the content: two collections with the same episodes have the same one.
"""

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import Missing, Problem, nearest
from common.files import read_json, sha256_bytes, sha256_file
from papers.l2m.store import FORMAT

KEYS = {"format", "layout", "state", "action", "versions", "tasks"}


@dataclass(frozen=True)
class Episodes:
    """Episodes of a task: rows starts[i] to starts[i + 1], noise on the actions, solved ever and at the last step, return."""

    starts: npt.NDArray[np.int64]
    noise: npt.NDArray[np.float32]
    ever: npt.NDArray[np.bool_]
    last: npt.NDArray[np.bool_]
    returns: npt.NDArray[np.float32]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Steps of each episode."""
        return np.diff(self.starts)


@dataclass(frozen=True)
class Trajectories:
    """A data set. tasks: names in the order of collection; index: what index.json holds."""

    folder: Path
    index: dict[str, Any]

    @staticmethod
    def open(folder: Path, tasks: Sequence[str] = (), layout: str | None = None) -> "Trajectories":
        """The data set in that folder. tasks, layout: what it must have.

        Errors: Missing when there is none; Problem, all together, for damaged files, other spaces and tasks that it lacks.
        """
        if not (folder / "index.json").exists():
            raise Missing(
                f"There is no whole data set in {folder}. Make it: give the command that collects it (again)."
            )
        index = read_json(folder / "index.json")
        if not isinstance(index, dict) or not index.keys() >= KEYS or index["format"] != FORMAT:
            raise Problem(f"{folder / 'index.json'} is no index of a data set of format {FORMAT}.")
        found = Trajectories(folder, index)
        wrong = [_lacks(folder, task, index["tasks"]) for task in tasks if task not in index["tasks"]]
        if layout is not None and layout != index["layout"]:
            wrong.append(
                f"{folder} holds states of layout {index['layout']} ({index['state']} numbers), but {layout} is asked for. Collect "
                "one with that layout."
            )
        wrong += [said for task in found.tasks for said in _damage(folder / task, index["tasks"][task], index)]
        if wrong:
            raise Problem(*wrong)
        return found

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks in the order of collection (as the settings name them), else by name."""
        asked = self.index.get("settings", {}).get("tasks", [])
        return [task for task in asked if task in self.index["tasks"]] or sorted(self.index["tasks"])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content: layout and the digests of all files."""
        content = {task: facts["sha256"] for task, facts in self.index["tasks"].items()}
        return sha256_bytes(json.dumps([FORMAT, self.index["layout"], content], sort_keys=True).encode())

    def states(self, task: str) -> npt.NDArray[np.float32]:
        """[n, S], mapped."""
        return self._mapped(task, "states")

    def actions(self, task: str) -> npt.NDArray[np.float32]:
        """[n, 6], mapped."""
        return self._mapped(task, "actions")

    def rewards(self, task: str) -> npt.NDArray[np.float32]:
        """[n], mapped."""
        return self._mapped(task, "rewards")

    def episodes(self, task: str) -> Episodes:
        """The table of the task's episodes."""
        with np.load(self.folder / task / "episodes.npz", allow_pickle=False) as stored:
            return Episodes(**{name: stored[name] for name in Episodes.__annotations__})

    def dims(self, task: str) -> int:
        """How many of an action's numbers count."""
        return int(self.index["tasks"][task]["dims"])

    def check(self) -> None:
        """Nothing; every byte is as it was stored. Errors: Problem naming each file that is not."""
        wrong = [
            f"{path} is damaged: its content is not what index.json says. Move the folder away and collect it again."
            for task in self.tasks
            for name, digest in self.index["tasks"][task]["sha256"].items()
            if sha256_file(path := self.folder / task / name) != digest
        ]
        if wrong:
            raise Problem(*wrong)

    def _mapped(self, task: str, name: str) -> npt.NDArray[np.float32]:
        array: npt.NDArray[np.float32] = np.load(self.folder / task / f"{name}.npy", mmap_mode="r")
        return array


def _lacks(folder: Path, task: str, there: dict[str, Any]) -> str:
    return f"{folder} has no task '{task}'.{nearest(task, there)} It has: {', '.join(there)}."


def _damage(folder: Path, facts: dict[str, Any], index: dict[str, Any]) -> list[str]:
    """What is wrong with the files of a task, by their headers and sizes."""
    rows = facts["steps"]
    shapes = {"states": (rows, index["state"]), "actions": (rows, index["action"]), "rewards": (rows,)}
    wrong = []
    for name, shape in shapes.items():
        path = folder / f"{name}.npy"
        try:
            array = np.load(path, mmap_mode="r")
        except FileNotFoundError:
            wrong.append(f"{path} is missing.")
            continue
        except (OSError, ValueError, EOFError) as error:  # mapping fails when the file is shorter than its header says
            wrong.append(f"{path} is cut short or no array ({error}).")
            continue
        if array.shape != shape or array.dtype != np.float32:
            wrong.append(f"{path} holds {array.dtype} {list(array.shape)}, but the index says float32 {list(shape)}.")
    try:
        with np.load(folder / "episodes.npz", allow_pickle=False) as stored:
            starts = stored["starts"]
        if len(starts) != facts["episodes"] + 1 or starts[-1] != rows:
            wrong.append(
                f"{folder / 'episodes.npz'} does not fit the index: {len(starts) - 1} episodes, {starts[-1]} steps."
            )
    except (OSError, ValueError, EOFError, KeyError, IndexError, zipfile.BadZipFile, zlib.error) as error:
        wrong.append(f"{folder / 'episodes.npz'} is missing or damaged ({error}).")
    advice = "Move the data set away and collect it again; nothing was changed."
    return [f"{said} {advice}" for said in wrong]
