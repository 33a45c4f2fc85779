"""What SLURM's own commands say, one call a question. Nothing here imports submitit or torch."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import Problem

ALIVE = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING",
         "STAGE_OUT", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")  # fmt: skip
# what an enclosing job leaves in the environment and a new job must not inherit
OF_A_JOB = re.compile(r"(SLURM|SLURMD|SRUN|SBATCH|SUBMITIT)_(?!CONF$)|(MASTER_(ADDR|PORT)|(LOCAL_)?RANK|WORLD_SIZE)$")
# what SLURM's commands say where no cluster stands behind them
NO_CLUSTER = ("process configuration file", "contact slurm controller", "onnection refused")


class Unreachable(Problem):
    """SLURM does not answer."""


@dataclass(frozen=True)
class Queued:
    """One job (an element of an array counts as one) as squeue tells of it; `alive` until it has ended for good."""

    job: str
    name: str
    element: int
    state: str
    node: str
    reason: str

    @property
    def alive(self) -> bool:
        """Whether it waits, runs or is coming to an end (from where it may go back into the queue)."""
        return self.state in ALIVE


def present() -> bool:
    """Whether SLURM's commands are on the path."""
    return shutil.which("sbatch") is not None


def call(*words: str, seconds: float = 60) -> str:
    """What a command of SLURM prints. Errors: Unreachable when it is missing, silent or refuses; its own words in it."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise Unreachable(
            f"There is no `{words[0]}` on the path: this is no machine of a SLURM cluster. Log in to one, or use --on local."
        ) from None
    except subprocess.TimeoutExpired:
        raise Unreachable(f"SLURM did not answer `{words[0]}` within {seconds:.0f} s. Try again in a minute.") from None
    if done.returncode:
        said = " ".join(line.strip() for line in done.stderr.splitlines() if line.strip()) or f"code {done.returncode}"
        silent = any(sign in said for sign in NO_CLUSTER)
        hint = " No cluster answers here: log in to one, bring one up (slurm/devcluster up), or use --on local."
        raise Unreachable(f"`{' '.join(words[:2])}` was refused by SLURM: {said}{hint if silent else ''}")
    return done.stdout


def mine() -> list[Queued]:
    """This user's jobs that wait or run, and those that ended minutes ago: one call, whatever their number."""
    text = call("squeue", "--noheader", "--array", "--states=all", "--me", "--format", "%F|%K|%j|%T|%N|%r")
    return [_queued(line) for line in text.splitlines() if line.count("|") >= 5]


def _queued(line: str) -> Queued:
    array, element, name, state, node, reason = line.split("|", 5)
    single = not element.isdigit()
    job = array if single else f"{array}_{element}"
    return Queued(job, name, 0 if single else int(element), state, node, reason)


def running(job: str) -> bool | None:
    """Whether a job runs now; None when SLURM cannot be asked here."""
    try:
        states = call("squeue", "--noheader", "--states=all", "--jobs", job, "--format", "%T", seconds=20).split()
    except Unreachable as error:
        return False if "Invalid job id" in str(error) else None
    return any(state in ("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "COMPLETING") for state in states)


def partitions() -> dict[str, int | None]:
    """Partition -> longest time of a job in minutes (None: no limit)."""
    lines = [line.split("|") for line in call("sinfo", "--noheader", "--format", "%R|%l").splitlines() if "|" in line]
    return {name: minutes(limit) for name, limit in lines}


def minutes(text: str) -> int | None:
    """Whole minutes (rounded up) of a time as SLURM writes it: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S; None: no limit."""
    if text.lower() in ("infinite", "unlimited", "n/a"):
        return None
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not match:
        raise ValueError(text)
    days, first, second, third = (int(part) if part else 0 for part in match.groups())
    if match[1]:  # D-H[:M[:S]]
        seconds = days * 86400 + first * 3600 + second * 60 + third
    elif match[4]:
        seconds = first * 3600 + second * 60 + third
    else:
        seconds = first * 60 + second
    return -(-seconds // 60)


def largest_array() -> int:
    """Most elements of one array that this cluster takes."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", call("scontrol", "show", "config"), re.MULTILINE)
    return max(1, int(found[1]) - 1) if found else 1000


def ended(names: Iterable[str]) -> dict[tuple[str, int], str]:
    """(job name, element) -> how it ended, in SLURM's words, of jobs that ended; from accounting, in one call."""
    fields = "JobID,JobName,State,ExitCode,NodeList"
    words = ("--noheader", "--parsable2", "--allocations", "--starttime=now-30days", f"--format={fields}")
    try:
        text = call("sacct", *words, f"--name={','.join(sorted(names))}")
    except Unreachable:
        return {}
    found = {}
    for line in text.splitlines():
        job, name, state, code, nodes = line.split("|")
        element = job.partition("_")[2]
        if state.split()[0] not in ALIVE:
            found[name, int(element) if element.isdigit() else 0] = f"{state} (exit code {code}) on {nodes}"
    return found


def cancel(jobs: list[str]) -> None:
    """Nothing; the jobs are told to end: running ones save first."""
    for start in range(0, len(jobs), 500):  # a command line has a limit
        call("scancel", *jobs[start : start + 500])


def tested(script: Path) -> str | None:
    """Why SLURM would refuse a batch script, None when it takes it. Nothing is queued."""
    try:
        call("sbatch", "--test-only", str(script))
    except Unreachable as error:
        return str(error)
    return None


@contextmanager
def clean_environment() -> Iterator[None]:
    """Within the block the environment holds nothing of a job that encloses this process (SLURM_CONF stays)."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if OF_A_JOB.match(name)}
    try:
        yield
    finally:
        os.environ.update(hidden)
