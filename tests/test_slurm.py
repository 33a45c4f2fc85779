"""Runs on a real SLURM of three nodes, with everything going wrong that goes wrong on clusters, and nothing lost.

Skipped where SLURM is not installed. The cluster is the tests' own (slurm/devcluster, in a folder of its own).
"""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import Cluster, Project, processes_of, until, why_not
from tests.helpers import LEARNERS, SMALL

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of three nodes that is up."""
    made = Cluster(Path(f"/var/tmp/devcluster-test-{os.getpid()}"))
    try:
        made.do("up")
        yield made
    finally:
        made.do("down")


@pytest.fixture
def project(cluster: Cluster, tmp_path: Path) -> Iterator[Project]:
    """A project of its own, and an empty queue after it."""
    yield Project.new(tmp_path / "project", cluster)
    cluster.empty()


SHORT = {**SMALL, "budget": {"iterations": 40, "batch": 8}}
CASES = {name: {"learner": {"name": name, **LEARNERS[name]}} for name in ("finetune", "er", "agem", "ewc", "si", "lwf")}


# --- the story of a sweep under fire -------------------------------------------------------------------------


class Faults:
    """What goes wrong on clusters, done to the jobs of a project. hit: runs that died without a warning."""

    def __init__(self, cluster: Cluster, project: Project, draw: random.Random) -> None:
        self.cluster, self.project, self.draw = cluster, project, draw
        self.hit: set[str] = set()
        self.told: list[str] = []

    def victim(self) -> str:
        """A job that runs and has a run under way."""
        found: list[str] = []

        def any_running() -> bool:
            running = self.cluster.jobs("RUNNING")
            found[:] = sorted({job for job in self.at_work().values() if job in running})
            return bool(found)

        until(any_running, 90, "some job carries out a run")
        job = self.draw.choice(found)
        self.told.append(job)
        return job

    def at_work(self) -> dict[str, str]:
        """run -> job, of the runs that say of themselves that they are under way."""
        found = {}
        for path in self.project.runs.glob("*/status.json"):
            status = json.loads(path.read_text())
            if status["state"] == "running":
                found[path.parent.name] = status["job"]
        return found

    def kill(self, job: str, main: bool) -> None:
        """SIGKILL to the process that submitit started, or to a worker."""
        self.hit |= {run_id for run_id, its in self.at_work().items() if its == job}
        for pid in processes_of(job, main):
            os.kill(pid, signal.SIGKILL)

    def requeue(self) -> None:
        """An administrator puts a running element back into the queue."""
        self.cluster.call("scontrol", "requeue", self.victim(), code=None)

    def preempt(self) -> None:
        """The urgent partition takes every node, without a word of warning."""
        self.cluster.call(
            "sbatch", "--partition=urgent", "--nodes=3", "--exclusive", "--output=/dev/null", "--wrap=sleep 3"
        )
        until(lambda: not self.cluster.jobs("PENDING").keys() & self.urgent(), 60, "the urgent job starts")

    def urgent(self) -> set[str]:
        return set(self.cluster.call("squeue", "-h", "-p", "urgent", "-o", "%i").split())

    def preempt_with_grace(self) -> None:
        """The same where the cluster gives jobs a time of grace after SIGTERM."""
        self.cluster.call("scontrol", "update", "PartitionName=batch", "GraceTime=20")
        self.preempt()
        self.cluster.call("scontrol", "update", "PartitionName=batch", "GraceTime=0")

    def time_limit(self) -> None:
        """A job comes to its time limit: SLURM sends its signal half a minute before."""
        job = self.victim()
        ran = self.cluster.call("squeue", "-h", "-j", job, "-o", "%M", code=None).strip() or "0:00"
        minutes = int(ran.split(":")[-2]) + (2 if int(ran.split(":")[-1]) > 20 else 1)
        self.cluster.call("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}", code=None)

    def kill_step(self) -> None:
        """kill -9 of a job step."""
        self.kill(self.victim(), main=True)

    def kill_worker(self) -> None:
        """kill -9 of the process that trains, as by a kernel that is out of memory."""
        self.kill(self.victim(), main=False)

    def node_dies(self) -> None:
        """A node dies with all that is on it, and comes back."""
        victim, jobs = self.victim(), self.cluster.jobs("RUNNING")
        node = jobs.get(victim) or self.draw.choice(sorted(jobs.values()))
        self.hit |= {run_id for run_id, job in self.at_work().items() if jobs.get(job) == node}
        self.cluster.do("node-down", node)
        time.sleep(3)
        self.cluster.do("node-up", node)

    def controller_restarts(self) -> None:
        """slurmctld ends and starts again."""
        self.cluster.do("ctl-restart")


def true_states(cluster: Cluster, project: Project) -> None:
    """`status` agrees with SLURM: looked at before and after, where both looks agree."""

    def look() -> tuple[set[str], set[str]]:
        return set(cluster.jobs("RUNNING", "COMPLETING")), set(cluster.jobs())

    before, rows, after = look(), project.told("status", "toy", "--tier", "smoke"), look()
    running, queue = before[0] & after[0], before[1] & after[1]
    ever = before[1] | after[1]
    for row in rows:
        if row["state"] == "done":
            assert (project.runs / row["run"] / "trace.npz").exists()
        elif row["state"] == "running":
            assert row["job"] in before[0] | after[0], row
        elif row["state"] in ("queued", "preempted"):
            assert row["job"] in ever, row
            assert (row["state"] == "preempted") == (row["updates"] > 0 or row["sittings"] > 0), row
        else:  # no job carries it: none may be there before and after
            assert not queue & carriers(project, row["run"]), (row, running)


def carriers(project: Project, run_id: str) -> set[str]:
    """Ids of the queue's jobs that carry a run, by the names in the submissions."""
    names = {}
    for path in (project.runs / ".slurm" / "jobs").glob("*/jobs.json"):
        for name, jobs in json.loads(path.read_text())["arrays"].items():
            names |= {name: k for name in [name] for k, run_ids in enumerate(jobs) if run_id in run_ids}
    text = subprocess.run(
        ["squeue", "-h", "-r", "-o", "%i|%j|%K"], env=project.environment, capture_output=True, text=True
    ).stdout
    rows = [line.split("|") for line in text.splitlines()]
    return {job for job, name, k in rows if name in names and (k == str(names[name]) or not k.isdigit())}


def test_a_sweep_under_fire_ends_with_the_table_of_an_undisturbed_one(
    cluster: Cluster, project: Project, tmp_path: Path
) -> None:
    project.spec("sweep", cases=CASES, seeds="0-4", run={**SMALL, "budget": {"iterations": 1200, "batch": 8}})
    faults = Faults(cluster, project, random.Random(7))
    events: list[Callable[[], None]] = [
        faults.requeue, faults.requeue, faults.preempt, faults.preempt_with_grace, faults.kill_step, faults.kill_step,
        faults.kill_worker, faults.controller_restarts, faults.node_dies, faults.time_limit,
    ]  # fmt: skip
    faults.draw.shuffle(events)
    launcher = project.start("run", "toy", "--on", "slurm", "--profile", "test", "--wait", "--json")
    until(lambda: len(cluster.jobs()) > 5, 60, "the jobs are queued")
    launcher.kill()  # the laptop is closed
    launcher.communicate()
    done: dict[str, float] = {}
    started = time.monotonic()
    for event in events:
        faults.told.append(event.__name__)
        event()
        true_states(cluster, project)
        for path in project.runs.glob("*/trace.npz"):
            done.setdefault(path.parent.name, path.stat().st_mtime)
    states = project.finish()
    again: dict[str, Any] = {}
    if set(states.values()) != {"done"}:  # what SLURM itself gave up (such as a time limit without a warning)
        again = project.told("run", "toy", "--on", "slurm", "--profile", "test")
        states = project.finish()
    assert set(states.values()) == {"done"}, (states, faults.told)
    assert len(states) == 30
    assert {run_id: (project.runs / run_id / "trace.npz").stat().st_mtime for run_id in done} == done  # none ran twice
    status = {run_id: project.status_of(run_id) for run_id in states}
    redone = {run_id: s["redone"] for run_id, s in status.items() if s["redone"]}
    assert not redone.keys() - faults.hit, (redone, faults.hit, faults.told)  # whoever was warned lost nothing
    facts = {
        "faults": faults.told,
        "seconds": round(time.monotonic() - started),
        "submitted again": len(again.get("submitted", [])),
        "sittings": sum(s["sittings"] for s in status.values()),
        "updates": sum(s["total"] for s in status.values()),
        "redone": redone,
    }
    print(json.dumps(facts))
    tables = project.tables()
    assert {"runs.csv"} <= tables.keys()
    project.environment |= {name: str(tmp_path / name) for name in ("REPLICATE_RUNS", "REPLICATE_RESULTS")}
    project.replicate("run", "toy", "--workers", "2")
    assert project.tables() == tables
