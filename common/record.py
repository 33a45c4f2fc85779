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
import os
import socket
import time
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import Problem
from common.files import read_json, sha256_bytes, write_atomic, write_json

if TYPE_CHECKING:
    import pandas as pd

STATES = ("running", "interrupted", "failed", "done")  # that a status names
ARRAYS = ("step", "task", "seen", "bits", "offsets", "ends")  # that every trace has
PROVENANCE = ("code", "versions", "host", "device", "started", "command", "stream")
MOST_STARTS = 5  # that often a run may die without getting on before it counts as failed
STALE_SECONDS = 600  # a run on another host that has not reported for this long counts as lost


@dataclass
class Trace:
    """Long-form facts of a run: correctness of every evaluation sample at every evaluation, scalars of every update.

    offsets: int64 [P+1], sample range of each measured part, which is a task unless the stream has parts of its own.
    ends: int64 [T], updates made at the end of each task. trained: with parts of its own, the parts in each task begun.
    values: further numbers of each sample at every evaluation, float32, NaN where it was not measured.
    """

    offsets: np.ndarray
    ends: np.ndarray
    step: list[int] = field(default_factory=list)
    task: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    bits: list[np.ndarray] = field(default_factory=list)
    scalars: dict[str, np.ndarray] = field(default_factory=dict)
    trained: list[np.ndarray] = field(default_factory=list)
    values: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def began(self, trained: np.ndarray) -> None:
        """Notes the next task: bool [P], whether it trains on each part."""
        self.trained.append(np.packbits(trained))

    def evaluated(
        self, step: int, task: int, seen: int, correct: np.ndarray, values: dict[str, np.ndarray] | None = None
    ) -> None:
        """Notes one evaluation: bool [offsets[seen]] for the samples of the parts measured, and further values of them."""
        whole = np.zeros(self.offsets[-1], dtype=bool)
        whole[: len(correct)] = correct
        self.step.append(step)
        self.task.append(task)
        self.seen.append(seen)
        self.bits.append(np.packbits(whole))
        for name, own in (values or {}).items():
            row = np.full(self.offsets[-1], np.nan, dtype=np.float32)
            row[: len(own)] = own
            self.values.setdefault(name, []).append(row)

    def noted(self, update: int, name: str, values: np.ndarray) -> None:
        """Notes a scalar of the updates update, update+1, ... (counted from 0)."""
        if name not in self.scalars:
            self.scalars[name] = np.full(self.ends[-1], np.nan, dtype=np.float32)
        self.scalars[name][update : update + len(values)] = values

    def arrays(self) -> dict[str, np.ndarray]:
        """The trace as plain arrays, the form in which it is stored."""
        width = (int(self.offsets[-1]) + 7) // 8
        counts = {name: np.array(getattr(self, name), dtype=np.int64) for name in ("step", "task", "seen")}
        bits = np.stack(self.bits) if self.bits else np.zeros((0, width), dtype=np.uint8)
        scalars = {f"s_{name}": values for name, values in self.scalars.items()}
        trained = {"trained": np.stack(self.trained)} if self.trained else {}
        values = {f"v_{name}": np.stack(rows) for name, rows in self.values.items()}
        return {**counts, "bits": bits, "offsets": self.offsets, "ends": self.ends, **scalars, **trained, **values}

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> "Trace":
        """The trace of stored arrays."""
        return cls(
            arrays["offsets"],
            arrays["ends"],
            arrays["step"].tolist(),
            arrays["task"].tolist(),
            arrays["seen"].tolist(),
            list(arrays["bits"]),
            {name[2:]: values.copy() for name, values in arrays.items() if name.startswith("s_")},
            list(arrays.get("trained", ())),
            {name[2:]: list(values) for name, values in arrays.items() if name.startswith("v_")},
        )


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
        sittings (times it was taken up), redone (updates that sudden deaths cost, as far as they had been reported).

        A run that says "running" but whose process is gone (or, on another host, silent for ten minutes) is
        "interrupted": the next `replicate run` resumes it.
        """
        status = self._status()
        if status is None:
            return {"state": "missing", "updates": 0, "total": 0}
        if status["state"] == "running" and not _alive(status):
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


def this_process() -> dict[str, Any]:
    """Host, process number and start of this process (and its SLURM job), as lock and status name their writer."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid()), **this_job()}


def this_job() -> dict[str, Any]:
    """{"job": "12_3", "restart": times that SLURM started it again}; nothing outside of a job."""
    array, element = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{element}" if array and element else os.environ.get("SLURM_JOB_ID")
    return {"job": job, "restart": int(os.environ.get("SLURM_RESTART_COUNT", 0))} if job else {}


def gone(writer: dict[str, Any]) -> bool | None:
    """Whether a writer on this host has ended; None for another host or an unreadable writer.

    A process that has its number but another start is another process: after a reboot, or in a new container.
    """
    pid = writer.get("pid")
    if writer.get("host") != socket.gethostname() or not isinstance(pid, int):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return writer.get("started") not in (None, _started(pid))


def _started(pid: int) -> str | None:
    """When a process started (boot and clock ticks since then), None where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
    return f"{boot} {ticks}"


def _alive(status: dict[str, Any]) -> bool:
    ended = gone(status)
    if ended is None:
        return time.time() - status.get("written", 0) < STALE_SECONDS
    return not ended
