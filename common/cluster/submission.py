"""What was submitted, as a folder of plain files: which job carries which runs, and what each run is.

<runs>/.slurm/jobs/<name>/  jobs.json  arrays of jobs, each job a list of run ids; profile, code, command
                            runs.json  run id -> its specification and its place in a paper
                            <k>/       submitit's files of array k: what to call, and the jobs' logs

A job of SLURM is named <name>.<k>, so its name and its element say which runs it carries, whoever submitted it.
"""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.cluster.profile import Profile
from common.errors import Problem
from common.files import read_json, write_atomic, write_json
from common.places import cluster_dir
from common.spec import RunSpec
from common.sweep import Request

Jobs = list[list[str]]  # the run ids of each job of an array


def jobs_dir() -> Path:
    """Folder of all submissions."""
    return cluster_dir() / "jobs"


@dataclass
class Submission:
    """One call of `replicate run --on slurm`.

    created: seconds since 1970. code: folder of the copy. settings: how a job carries out its runs (outcome.Settings).
    processes: how many share one run.
    arrays: name of the array -> its jobs, in the order of their elements.
    """

    name: str
    created: float
    profile: str
    code: str
    command: list[str]
    settings: dict[str, Any]
    processes: int = 1
    arrays: dict[str, Jobs] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Its folder."""
        return jobs_dir() / self.name

    def store(self, requests: list[Request], updates: dict[str, int]) -> None:
        """Nothing; both files are there, before SLURM hears of any job."""
        runs = {r.run_id: _stored(r) | {"updates": updates.get(r.run_id, 1)} for r in requests}
        write_atomic(self.folder / "runs.json", json.dumps(runs, sort_keys=True))
        write_json(self.folder / "jobs.json", vars(self))


def _stored(request: Request) -> dict[str, Any]:
    place = {key: getattr(request, key) for key in ("paper", "spec", "tier", "case")}
    return place | {"science": request.run.science, "parents": [_stored(parent) for parent in request.parents]}


def new(profile: Profile, code: Path, command: list[str]) -> Submission:
    """A submission with a name of its own, which begins with the time."""
    now = time.time()
    name = f"r{time.strftime('%m%d-%H%M%S', time.localtime(now))}-{uuid.uuid4().hex[:6]}"
    settings = {
        "workers": profile.at_a_time,
        "device": profile.device,
        "save_minutes": profile.save_minutes,
        "status_seconds": profile.status_seconds,
        "patience": profile.patience,
    }
    return Submission(name, now, profile.name, str(code), command, settings, profile.processes)


def read(folder: Path) -> Submission:
    """A stored submission. Errors: Problem when its file is damaged or another version's."""
    stored = read_json(folder / "jobs.json")
    try:
        return Submission(**stored)
    except TypeError as error:
        raise Problem(f"{folder / 'jobs.json'} cannot be read ({error}). Move {folder} away.") from error


def everything() -> Iterator[Submission]:
    """All submissions that are stored, newest first."""
    if jobs_dir().is_dir():
        for folder in sorted(jobs_dir().iterdir(), key=lambda p: p.stat().st_mtime, reverse=True):
            if (folder / "jobs.json").exists():
                yield read(folder)


def requests_of(folder: Path, run_ids: list[str]) -> tuple[list[Request], dict[str, int]]:
    """(the stored requests of these runs, run id -> updates). Errors: Problem when the code reads a run differently."""
    stored = read_json(folder / "runs.json")
    found = [_request(stored[run_id]) for run_id in run_ids]
    changed = [i for i, request in zip(run_ids, found, strict=True) if request.run_id != i]
    if changed:
        raise Problem(
            f"The code at work gives another id to {', '.join(changed)}: it is not the code that was submitted."
        )
    return found, {run_id: stored[run_id]["updates"] for run_id in run_ids}


def _request(stored: dict[str, Any]) -> Request:
    place = (stored["paper"], stored["spec"], stored["tier"], stored["case"])
    return Request(RunSpec.of(stored["science"]), *place, tuple(_request(parent) for parent in stored["parents"]))


def packed(requests: list[Request], seconds: list[float | None], profile: Profile) -> Jobs:
    """Runs packed into jobs: in order, runs of one spec share a job until it is full.

    A job is full when the expected seconds of its runs, divided by the runs it carries out at a time, reach the profile's
    minutes_per_job (or half of its time limit, if that is less), or when it has runs_per_job runs. A run of which nothing
    is known fills a place for that long. A run that several processes share has a job of its own.
    """
    most = 1 if profile.processes > 1 else profile.runs_per_job
    goal = 60 * min(profile.minutes_per_job, profile.minutes / 2)
    jobs: Jobs = []
    room, last = 0.0, ("", "")
    for request, took in zip(requests, seconds, strict=True):
        here = (request.paper, request.spec)
        if room <= 0 or here != last or len(jobs[-1]) == most:
            jobs.append([])
            room, last = goal * profile.at_a_time, here
        jobs[-1].append(request.run_id)
        room -= goal if took is None else took
    return jobs


def generations(requests: list[Request]) -> list[list[Request]]:
    """The requests in layers: each one's parents are in earlier layers (or are no request here)."""
    here = {r.run_id for r in requests}
    level: dict[str, int] = {}

    def depth(request: Request) -> int:
        if request.run_id not in level:
            level[request.run_id] = max((depth(p) + 1 for p in request.parents if p.run_id in here), default=0)
        return level[request.run_id]

    layers: dict[int, list[Request]] = {}
    for request in requests:
        layers.setdefault(depth(request), []).append(request)
    return [layers[k] for k in sorted(layers)]
