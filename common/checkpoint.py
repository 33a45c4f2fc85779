"""One file holds the whole state of a run under way: learner, optimiser, generators, position and trace so far."""

import copy
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common.errors import Problem
from common.files import sha256_bytes, write_atomic
from common.learners.base import Learner
from common.record import damaged, snapshot_path, snapshots
from common.trace import Trace


@dataclass(frozen=True)
class Cursor:
    """The next update to make: `step` of `task`; `updates` were made before. step > 0: the task has begun."""

    task: int = 0
    step: int = 0
    updates: int = 0


def refuse_unsaved(learner: Learner) -> None:
    """Nothing. Errors: Problem when the learner has changed what no checkpoint holds."""
    if lost := learner.unsaved():
        raise Problem(
            f"{type(learner).__name__} changes {', '.join(lost)} while it learns, which no checkpoint holds: keep it in "
            "self.state (tensors, numbers, lists and dicts of them), or under a name that begins with _ when it can be made again."
        )


def save(folder: Path, run_id: str, cursor: Cursor, learner: Learner, trace: Trace) -> None:
    """Nothing; checkpoint.pt holds everything needed to go on exactly from `cursor` (written atomically)."""
    refuse_unsaved(learner)
    state = {
        "run_id": run_id,
        "cursor": [cursor.task, cursor.step, cursor.updates],
        "learner": learner.state_dict(),
        "optimiser": learner.optimiser.state_dict(),
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "trace": {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in trace.arrays().items()},
    }
    buffer = io.BytesIO()
    torch.save(_own(state), buffer)
    raw = buffer.getvalue()
    write_atomic(folder / "checkpoint.pt", sha256_bytes(raw).encode() + b"\n" + raw)


def _own(value: Any) -> Any:
    """The same with tensors that are part of a larger one (a member's of a group) copied: a file holds whole storages."""
    if isinstance(value, torch.Tensor):
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if isinstance(value, dict):
        made = copy.copy(value)  # a state_dict has attributes beside its entries
        made.update((key, _own(inner)) for key, inner in value.items())
        return made
    return type(value)(_own(inner) for inner in value) if type(value) in (list, tuple) else value


def restore(folder: Path, run_id: str, learner: Learner) -> tuple[Cursor, Trace] | None:
    """(position, trace so far) with the learner put back as it was; None when there is no checkpoint.

    Errors: Problem when the file is cut short, damaged or belongs to another run.
    """
    state = read(folder)
    if state is None:
        return None
    if state["run_id"] != run_id:
        raise Problem(damaged(folder, "checkpoint.pt", f"it belongs to run {state['run_id']}"))
    learner.load_state_dict(state["learner"])
    learner.optimiser.load_state_dict(state["optimiser"])
    torch.set_rng_state(state["torch_rng"])
    if state["cuda_rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda_rng"][: torch.cuda.device_count()])  # this machine may have fewer
    return Cursor(*state["cursor"]), Trace.of({name: t.numpy() for name, t in state["trace"].items()})


def read(folder: Path) -> dict[str, Any] | None:
    """The stored state, checked against its digest; None when there is none."""
    try:
        content = (folder / "checkpoint.pt").read_bytes()
    except FileNotFoundError:
        return None
    digest, _, raw = content.partition(b"\n")
    if sha256_bytes(raw) != digest.decode(errors="replace"):
        raise Problem(
            damaged(folder, "checkpoint.pt", "its content does not match its digest: it was cut short or changed")
        )
    return dict(torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True))


def save_weights(path: Path, learner: Learner) -> None:
    """Nothing; the file holds the network's weights as they are now, readable with torch.load(weights_only=True)."""
    buffer = io.BytesIO()
    torch.save(_own({name: t.cpu() for name, t in learner.net.state_dict().items()}), buffer)
    write_atomic(path, buffer.getvalue())


def read_weights(folder: Path, updates: int | None = None) -> dict[str, torch.Tensor]:
    """The final weights of a run, or its snapshot after so many updates. Errors: Problem when damaged or not kept."""
    path = folder / "weights.pt" if updates is None else snapshot_path(folder, updates)
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except FileNotFoundError:
        if updates is None:
            raise Problem(damaged(folder, path.name, "it is missing")) from None
        kept = ", ".join(map(str, snapshots(folder))) or "none"
        raise Problem(
            f"Run {folder.name} kept no weights after {updates} updates; kept: {kept}. Ask for them with "
            "evaluation.snapshots, which makes it another run."
        ) from None
    except Exception as error:  # a damaged file may raise nearly anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Problem(damaged(folder, path.relative_to(folder).as_posix(), reason)) from error
