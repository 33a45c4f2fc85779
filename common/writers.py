"""Who writes a run's status and lock, and whether that process still lives."""

import os
import socket
import time
from pathlib import Path
from typing import Any

STALE_SECONDS = 600  # a run on another host that has given no sign of life for this long counts as lost


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


def alive(status: dict[str, Any], touched: float) -> bool:
    """Whether the writer of a status lives, as far as can be told: by its process here, elsewhere by its last word or by when
    it touched its lock."""
    ended = gone(status)
    if ended is None:
        return time.time() - max(status.get("written", 0), touched) < STALE_SECONDS
    return not ended
