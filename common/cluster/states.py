"""Where every run stands, on this machine or in a queue: the run folders first, then one look at SLURM's queue.

Nothing is asked of SLURM where nothing was ever submitted. Accounting (sacct) is asked once, and only about jobs that
are gone without having left a word in the folders of their runs.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from common import scheduler
from common.cluster import submission
from common.places import runs_dir
from common.record import RunFolder

Queue = dict[str, tuple[scheduler.Queued, float]]  # run id -> the job that carries it, and when that was submitted

# jobs that hold no node now: their runs wait
WAITING = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "REQUEUE_FED", "RESV_DEL_HOLD")


@dataclass
class View:
    """One look at the cluster. running: ids of this user's jobs that hold a node. ended: (array, element) -> how.

    clear: SLURM was asked and answered; it is not asked where nothing was ever submitted. trouble: why it did not answer.
    """

    queue: Queue
    running: set[str]
    clear: bool
    trouble: str | None = None
    ended: dict[tuple[str, int], str] = field(default_factory=dict)


def look() -> View:
    """What this user has in the queue, by run id. A SLURM that is not there or does not answer is no error here."""
    if not submission.jobs_dir().is_dir():
        return View({}, set(), False)
    try:
        jobs = scheduler.mine()
    except scheduler.Unreachable as error:
        return View({}, set(), False, str(error))
    queue: Queue = {}
    arrays = {name: _array(name) for name in {job.name for job in jobs}}
    for job in jobs:
        elements, created = arrays[job.name]
        if job.alive and job.element < len(elements):
            queue |= {run_id: (job, created) for run_id in elements[job.element]}
    running = {job.job for job in jobs if job.alive and job.state not in WAITING}
    ended = {(job.name, job.element): f"{job.state} on {job.node or 'no node'}" for job in jobs if not job.alive}
    return View(queue, running, True, ended=ended)


def _array(name: str) -> tuple[submission.Jobs, float]:
    """The jobs of an array of ours by its name, and when it was submitted; none when it is not ours."""
    folder = submission.jobs_dir() / name.partition(".")[0]
    if not (folder / "jobs.json").exists():
        return [], 0.0
    made = submission.read(folder)
    return made.arrays.get(name, []), made.created


def standing(run_ids: Iterable[str], view: View | None = None, accounting: bool = True) -> dict[str, dict[str, Any]]:
    """run id -> its status (see RunFolder.status) with `state` as it is with the queue in view, and `job`, `waits_for`.

    state: queued, running, preempted (it was under way and its job waits to go on), done, failed, interrupted, missing.
    accounting: whether to ask it; whoever looks every few seconds should not.
    """
    view = look() if view is None else view
    if view.trouble:
        print(
            f"note: states are from the run folders alone, for the queue cannot be read: {view.trouble}",
            file=sys.stderr,
        )
    found = {run_id: _standing(RunFolder(runs_dir() / run_id).status(), run_id, view) for run_id in run_ids}
    if view.clear:
        _tell_of_lost(found, view, accounting)
    return found


def _standing(status: dict[str, Any], run_id: str, view: View) -> dict[str, Any]:
    job, created = view.queue.get(run_id, (None, 0.0))
    state = status["state"]
    if state == "running" and view.clear and _another(status, view):
        state = "interrupted"  # its file could not be brought up to date: the job was taken away at once
    failed_before = state == "failed" and status.get("written", 0) < created
    if job is not None and (state in ("interrupted", "missing") or failed_before):
        state = "preempted" if state == "interrupted" else "queued"
        status |= {"job": job.job, "waits_for": job.reason if job.state in WAITING else "its turn in its job"}
        status.pop("error", None)
    return status | {"state": state}


def _another(status: dict[str, Any], view: View) -> bool:
    """Whether the job that wrote this does not run now (this user's jobs are all in view)."""
    return bool(status.get("job")) and status["job"] not in view.running


def _tell_of_lost(found: dict[str, dict[str, Any]], view: View, accounting: bool) -> None:
    """Adds how their jobs ended to runs that a job left without a word, newest submission first."""
    lost = {run_id for run_id, status in found.items() if status["state"] in ("missing", "interrupted")}
    carried: dict[str, tuple[str, int]] = {}
    for made in submission.everything() if lost else ():
        for name, jobs in made.arrays.items():
            for element, run_ids in enumerate(jobs):
                for run_id in lost.intersection(run_ids) - carried.keys():
                    carried[run_id] = (name, element)
    older = {name for name, element in carried.values() if (name, element) not in view.ended}
    ends = (scheduler.ended(older) if older and accounting else {}) | view.ended
    for run_id, place in carried.items():
        words, status = ends.get(place), found[run_id]
        if words and not words.startswith("COMPLETED"):
            status["error"] = f"its job ended as {words}"
            if status["state"] == "missing" and not words.startswith("CANCELLED"):
                log = submission.jobs_dir() / place[0].partition(".")[0]
                status["state"] = "failed"
                status["error"] += (
                    f" before the run could write anything: can that node write {log}? A log, if any, is there"
                )
