"""What runs inside a job: the runs that its submission names, until they are done or SLURM wants its place back.

submitit starts it, owns the signal and queues the job again. Ours is when: a signal only sets a flag, every run saves at
its next update, and submitit is called after that, outside of any handler.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
from common import scheduler
from common.cluster import shared, submission
from common.errors import Problem
from common.launch import run_local
from common.outcome import Outcome, Settings
from common.places import runs_dir
from common.record import RunFolder
from common.sweep import Request
from common.writers import this_job

CALLS = 12  # tries to reach a controller that is being started anew, five seconds apart


class Runs:
    """Run ids and the folder of their submission, nothing else: what a run has reached stands in its own folder."""

    def __init__(self, folder: str, run_ids: list[str]) -> None:
        self.folder, self.run_ids = folder, run_ids

    def __call__(self) -> dict[str, Any]:
        """How many runs were done now and before. Errors: Problem that names the failed ones, so that SLURM says FAILED."""
        made = submission.read(Path(self.folder))
        _same_code(made.code)
        sys.argv = made.command
        asked = Asked()
        requests, updates = submission.requests_of(Path(self.folder), self.run_ids)
        print(
            f"job {this_job().get('job')}: {len(requests)} runs, folder of runs {runs_dir()}, code {made.code}",
            flush=True,
        )
        requests = [r for r in requests if not _failed_since(r, made.created)]
        if made.processes > 1 and requests:
            outcome = shared.carry_out(requests[0], made.processes, made.settings, asked)
        else:
            outcome = run_local(requests, Settings(**made.settings, again=True), updates, stop=asked)
        if outcome.stopped:
            asked.leave()
        return _said(outcome)

    def checkpoint(self) -> Any:
        """What submitit puts back into the queue: the same run ids."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Runs(self.folder, self.run_ids))


class Asked:
    """Whether a signal came. SLURM sends its own one before the time limit, SIGTERM when it wants the place at once."""

    def __init__(self) -> None:
        name = os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")
        self.warning = getattr(signal, f"SIG{name}")
        self.submitit: Any = signal.getsignal(self.warning)
        self.came: int | None = None
        for number in (self.warning, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        self.came = self.came or number

    def __call__(self) -> bool:
        return self.came is not None

    def leave(self) -> None:
        """Ends the process: through submitit, which queues the job again, unless SLURM has already taken it back.

        After SIGTERM a job that still counts as running is being preempted within a time of grace; any other was
        cancelled, or queued again from outside, and must not be put back by us.
        """
        job = this_job().get("job", "")
        if self.came == self.warning or _still_running(job):
            _patiently(lambda: self.submitit(self.warning, None))
        sys.exit(0)


def _still_running(job: str) -> bool:
    try:
        return scheduler.call("squeue", "--noheader", "--jobs", job, "--format", "%T").split() == ["RUNNING"]
    except scheduler.Unreachable:
        return False


def _patiently(requeue: Callable[[], None]) -> None:
    """Calls it until SLURM answers; a controller may be away for a moment."""
    for _ in range(CALLS):
        try:
            return requeue()
        except subprocess.SubprocessError as error:
            print(f"SLURM did not take the job back yet: {error}", file=sys.stderr, flush=True)
            time.sleep(5)
    raise Problem("SLURM could not be reached to queue the job again. Every run is saved: give the same command again.")


def _same_code(folder: str) -> None:
    """Nothing. Errors: Problem when the code at work is not the copy that was submitted."""
    here = Path(common.__file__).resolve().parent.parent
    if here != Path(folder).resolve():
        raise Problem(
            f"This job was to run the code in {folder}, but found {here}. Was the copy removed? Submit again."
        )


def _failed_since(request: Request, created: float) -> bool:
    """Whether the run failed for its own reasons under this submission; it is not tried for ever."""
    status = RunFolder(runs_dir() / request.run_id).status()
    return bool(status["state"] == "failed" and status.get("written", 0) > created)


def _said(outcome: Outcome) -> dict[str, Any]:
    if outcome.failed:
        raise Problem(*(f"failed: {run_id}: {reason}" for run_id, reason in outcome.failed.items()))
    return {"done": len(outcome.done), "before": len(outcome.before), "elsewhere": len(outcome.elsewhere)}
