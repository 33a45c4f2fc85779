"""The stored form of a data set: arrays of one task that can be mapped into memory, and an index that is written last.

index.json            layout, widths, versions of the simulators, settings; for each task its facts and the SHA-256 of its files
<task>/states.npy     float32 [n, S], the states before each action, all episodes one after the other
<task>/actions.npy    float32 [n, 6], in [-1, 1], filled up with zeros beyond the task's `dims`
<task>/rewards.npy    float32 [n]
<task>/episodes.npz   int64 starts [m + 1] of the episodes' rows; noise, ever, last, returns [m]
parts/<task>/         blocks of episodes of a task that is not whole yet
"""

import io
import os
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from common.errors import Problem
from common.files import sha256_file, write_atomic, write_json
from papers.l2m.catalogue import ACTIONS, action_dims, domain_of
from papers.l2m.layouts import layout

FORMAT = 1
FILES = ("states.npy", "actions.npy", "rewards.npy", "episodes.npz")
LEAST_REWARD = 0.05  # a step, in the best episode, below which an expert of DMControl does not do its task


@dataclass(frozen=True)
class Episode:
    """One episode: states [n, S] before each of the actions [n, 6], rewards [n]; solved at any step, and at the last."""

    states: npt.NDArray[np.float32]
    actions: npt.NDArray[np.float32]
    rewards: npt.NDArray[np.float32]
    noise: float
    ever: bool
    last: bool


def there(folder: Path, task: str, first: int) -> bool:
    """Whether the block of the task from that episode on is stored, as a part or in the whole task."""
    return (folder / task).is_dir() or _part(folder, task, first).exists()


def write_part(folder: Path, task: str, first: int, episodes: Sequence[Episode]) -> None:
    """Nothing; the block is stored whole or not at all."""
    columns = {name: np.concatenate([getattr(e, name) for e in episodes]) for name in ("states", "actions", "rewards")}
    returns = [e.rewards.sum(dtype=np.float64) for e in episodes]
    write_atomic(
        _part(folder, task, first), _npz(columns | table(episodes) | {"returns": np.array(returns, dtype=np.float32)})
    )


def table(episodes: Sequence[Episode]) -> dict[str, npt.NDArray[Any]]:
    """lengths, noise, ever, last of episodes."""
    return {
        "lengths": np.array([len(e.rewards) for e in episodes], dtype=np.int64),
        "noise": np.array([e.noise for e in episodes], dtype=np.float32),
        "ever": np.array([e.ever for e in episodes], dtype=np.bool_),
        "last": np.array([e.last for e in episodes], dtype=np.bool_),
    }


def merge(folder: Path, task: str, blocks: Sequence[int]) -> None:
    """Nothing; the task's parts are joined into its folder, which appears whole. Errors: Problem for a damaged part."""
    if (folder / task).is_dir():
        return
    parts = [_part(folder, task, first) for first in blocks]
    small = [_read(path, "lengths", "noise", "ever", "last", "returns") for path in parts]
    columns = {name: np.concatenate([part[name] for part in small]) for name in small[0]}
    starts = np.concatenate([[0], np.cumsum(columns.pop("lengths"))]).astype(np.int64)
    new = folder / f".{task}.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for name in ("states", "actions", "rewards"):
        _joined(new / f"{name}.npy", parts, int(starts[-1]))
    write_atomic(new / "episodes.npz", _npz({"starts": starts, **columns}))
    for name in FILES:
        _synced(new / name)
    os.replace(new, folder / task)
    shutil.rmtree(_part(folder, task, 0).parent, ignore_errors=True)


def finish(folder: Path, plan: dict[str, Any]) -> None:
    """Nothing; index.json is written: the data set is whole. Errors: Problem when an expert did none of its task."""
    useless = [failure for task in plan["tasks"] if (failure := _failure(task, folder))]
    if useless:
        raise Problem(
            *useless,
            "No data set is made of such episodes. Leave the task out, play more steps, or lower the noise; "
            f"what was collected lies in {folder}.",
        )
    write_index(folder, plan)


def write_index(folder: Path, plan: dict[str, Any]) -> None:
    """Nothing; index.json names the data set's layout, versions and tasks, with the digests of their files."""
    whole = {
        "format": FORMAT,
        "layout": plan["layout"],
        "state": layout(plan["layout"]).size,
        "action": ACTIONS,
        "versions": plan["versions"],
        "settings": {key: value for key, value in plan.items() if key not in ("versions", "layout")},
        "tasks": {task: facts(folder, task) for task in plan["tasks"]},
    }
    write_json(folder / "index.json", whole)
    shutil.rmtree(folder / "parts", ignore_errors=True)


def facts(folder: Path, task: str) -> dict[str, Any]:
    """What index.json says of a task."""
    with np.load(folder / task / "episodes.npz", allow_pickle=False) as stored:
        starts, ever, last, returns = (stored[name] for name in ("starts", "ever", "last", "returns"))
    return {
        "domain": domain_of(task),
        "dims": action_dims(task),
        "steps": int(starts[-1]),
        "episodes": len(ever),
        "ever": float(ever.mean()),
        "last": float(last.mean()),
        "returns": {"mean": float(returns.mean()), "best": float(returns.max()), "worst": float(returns.min())},
        "sha256": {name: sha256_file(folder / task / name) for name in FILES},
    }


def _failure(task: str, folder: Path) -> str:
    """Why the episodes of a task show nobody how it is done; empty when they do."""
    with np.load(folder / task / "episodes.npz", allow_pickle=False) as stored:
        ever, best = stored["ever"], float((stored["returns"] / np.diff(stored["starts"])).max())
    if domain_of(task) == "metaworld" and not ever.any():
        return f"{task}: its demonstrator never succeeded in {len(ever)} episodes."
    if domain_of(task) == "dmcontrol" and best < LEAST_REWARD:
        return f"{task}: its demonstrator never got more than {best:.3f} of 1 a step in {len(ever)} episodes."
    return ""


def _part(folder: Path, task: str, first: int) -> Path:
    return folder / "parts" / task / f"{first:06d}.npz"


def _npz(arrays: dict[str, npt.NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _read(path: Path, *names: str) -> dict[str, npt.NDArray[Any]]:
    """Those arrays of a part. Errors: Problem for a damaged one, which is removed: it is collected anew."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        path.unlink(missing_ok=True)
        raise Problem(f"{path} was damaged ({error}) and is removed. The same command collects it again.") from error


def _joined(path: Path, parts: Sequence[Path], rows: int) -> None:
    """Nothing; `path` holds the array of that name of all parts, one part in memory at a time."""
    name, whole, first = path.stem, None, 0
    for part in parts:
        values = _read(part, name)[name]
        if whole is None:
            whole = np.lib.format.open_memmap(path, "w+", np.float32, shape=(rows, *values.shape[1:]))
        whole[first : first + len(values)] = values
        first += len(values)
    if whole is not None:
        whole.flush()


def _synced(path: Path) -> None:
    """Nothing; the file's content is on the disk before its folder gets its name."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
