"""The run folder: what a run leaves behind, written atomically and read without torch.

runs/<run_id>/  spec.json        the resolved specification
                provenance.json  code, versions, host, device, command, stream
                status.json      state, progress, host, last error (rewritten every few seconds)
                checkpoint.pt    newest complete state while under way
                trace.npz        every fact of the finished run
                weights.pt       the final weights
                facts.csv        what an analysis found, in place of trace and weights
                data/            what a collection made, beside facts.csv
                snapshots/       <updates>.pt: the weights after so many updates, where they were asked for
"""

import csv
import io
import json
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import Problem
from common.files import read_json, sha256_bytes, write_atomic, write_json
from common.trace import Trace
from common.writers import alive, this_process

if TYPE_CHECKING:
    import pandas as pd

STATES = ("running", "interrupted", "failed", "done")  # that a status names
ARRAYS = ("step", "task", "seen", "bits", "offsets", "ends")  # that every trace has
PROVENANCE = ("code", "versions", "host", "device", "started", "command", "stream")
MOST_STARTS = 5  # that often a run may die without getting on before it counts as failed


@dataclass(frozen=True)
class RunFolder:
    """One run's folder. Reading never changes it."""

    path: Path

    @property
    def run_id(self) -> str:
        """The run's id, the folder's name."""
        return self.path.name

    def spec(self) -> dict[str, Any]:
        """The resolved specification as stored. Errors: Problem when it is not the one that gave the run its id."""
        stored = self._mapping("spec.json")
        science = {key: value for key, value in stored.items() if key != "run_id"}
        if not self.run_id.endswith(sha256_bytes(json.dumps(science, sort_keys=True).encode())[:12]):
            raise Problem(damaged(self.path, "spec.json", "it is not the specification that gave the run its id"))
        return stored

    def provenance(self) -> dict[str, Any]:
        """Where the run came from."""
        return self._mapping("provenance.json", PROVENANCE)

    def _mapping(self, name: str, keys: tuple[str, ...] = ()) -> dict[str, Any]:
        """What a JSON file of the folder holds. Errors: Problem when it is missing, damaged or lacks one of the keys."""
        try:
            stored = read_json(self.path / name)
        except FileNotFoundError:
            raise Problem(damaged(self.path, name, "it is missing")) from None
        lacking = [key for key in keys if not isinstance(stored, dict) or key not in stored]
        if lacking or not isinstance(stored, dict):
            raise Problem(damaged(self.path, name, f"it lacks {', '.join(lacking)}" if lacking else "it is no mapping"))
        return stored

    def status(self) -> dict[str, Any]:
        """state ("missing", "running", "interrupted", "failed" or "done"), updates, total, seconds, host, pid, error;
        sittings (times it was taken up), redone (updates that sudden deaths cost, as far as they had been reported);
        not_finite_from (update from which on the loss was not finite, as of the last save; else None).

        A run that says "running" but whose process is gone (or, on another host, silent for ten minutes) is
        "interrupted": the next `replicate run` resumes it.
        """
        status = self._status()
        if status is None:
            return {"state": "missing", "updates": 0, "total": 0}
        if status["state"] == "running" and not alive(status):
            status["state"] = "interrupted"
        return status

    def _status(self) -> dict[str, Any] | None:
        """What status.json holds, None when there is none."""
        path = self.path / "status.json"
        try:
            status = read_json(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Problem(
                f"Cannot read {path}: {error.strerror}. Let REPLICATE_RUNS name a folder that can be read and written."
            ) from error
        if not isinstance(status, dict) or status.get("state") not in STATES or not _counts(status):
            raise Problem(f"{path} is damaged. Move it away and run the command that made it again.")
        return status

    def done(self) -> bool:
        """Whether the run is complete."""
        return self.status()["state"] == "done"

    def starts(self) -> int:
        """Times the run was started and died without having saved anything since. Errors: Problem at the fifth in a row."""
        status = self._status() or {}
        dead = status.get("state") == "running"
        starts = int(status.get("starts", 0)) if dead else 0
        if starts >= MOST_STARTS:
            raise Problem(
                f"Run {self.run_id} was started {starts} times and died each time before it had saved anything: out of "
                "memory, killed, or a fault of the machine. Look at its job's log; the same command tries again."
            )
        return starts

    def write_status(self, **values: Any) -> None:
        """Stores the state with host, process and time of writing."""
        write_json(self.path / "status.json", values | this_process() | {"written": time.time()})

    def write_trace(self, trace: Trace) -> None:
        """Stores a finished trace."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **trace.arrays())  # type: ignore[arg-type]
        write_atomic(self.path / "trace.npz", buffer.getvalue())

    def trace(self) -> dict[str, np.ndarray]:
        """Arrays of the stored trace. Errors: Problem when the file is missing, cut short or damaged."""
        path = self.path / "trace.npz"
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except FileNotFoundError:
            if self.done():
                raise Problem(damaged(self.path, "trace.npz", "it is missing though the run is done")) from None
            raise Problem(f"Run {self.run_id} has no trace yet ({path} is missing). Run its target again.") from None
        except (OSError, ValueError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise Problem(damaged(self.path, "trace.npz", error)) from error
        if lacking := [name for name in ARRAYS if name not in arrays]:
            raise Problem(damaged(self.path, "trace.npz", f"it lacks {', '.join(lacking)}"))
        rows = {name: len(arrays[name]) for name in ("step", "task", "seen", "bits")}
        if len(set(rows.values())) > 1 or arrays["bits"].shape[-1] * 8 < arrays["offsets"][-1]:
            raise Problem(damaged(self.path, "trace.npz", f"its arrays do not fit each other: {rows}"))
        return arrays

    def write_facts(self, facts: list[dict[str, Any]]) -> None:
        """Stores what an analysis found, one row a fact; numbers with eight digits."""
        columns = list(dict.fromkeys(key for fact in facts for key in fact))
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, lineterminator="\n")
        writer.writeheader()
        for fact in facts:
            writer.writerow({k: f"{v:.8g}" if isinstance(v, float) else v for k, v in fact.items()})
        write_atomic(self.path / "facts.csv", buffer.getvalue())

    def facts(self) -> "pd.DataFrame":
        """What an analysis found. Errors: Problem when it is missing or damaged."""
        import pandas as pd

        try:
            return pd.read_csv(self.path / "facts.csv")
        except (OSError, ValueError) as error:
            raise Problem(damaged(self.path, "facts.csv", error)) from error


def _counts(status: dict[str, Any]) -> bool:
    """Whether the numbers in a status are numbers."""
    needed = isinstance(status.get("updates"), int)
    return needed and all(isinstance(status.get(key, 0), int | float) for key in ("total", "seconds", "written"))


def snapshot_path(folder: Path, updates: int) -> Path:
    """Where a run keeps its weights after so many updates."""
    return folder / "snapshots" / f"{updates}.pt"


def snapshots(folder: Path) -> list[int]:
    """After how many updates a run has kept its weights, ascending; empty when it kept none."""
    return sorted(int(path.stem) for path in (folder / "snapshots").glob("[0-9]*.pt"))


def damaged(folder: Path, name: str, error: object) -> str:
    """The sentence for a stored file that cannot be read."""
    return (
        f"{folder / name} is damaged ({error}). Nothing was changed. To make the run anew, move the folder away: "
        f"mv {folder} {folder}.damaged"
    )
