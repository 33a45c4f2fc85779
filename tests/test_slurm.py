"""Runs on a real SLURM of three nodes, with everything going wrong that goes wrong on clusters, and nothing lost.

Skipped where SLURM is not installed. The cluster is the tests' own (slurm/devcluster, in a folder of its own).
"""

import csv
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import ROOT, WHY_NOT, Cluster, Project, processes_of, until
from tests.helpers import LEARNERS, SMALL

pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


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

        until(any_running, "some job carries out a run")
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
        until(lambda: not self.cluster.jobs("PENDING").keys() & self.urgent(), "the urgent job starts")

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
    project.spec("sweep", cases=CASES, seeds="0-2", run={**SMALL, "budget": {"iterations": 1200, "batch": 8}})
    faults = Faults(cluster, project, random.Random(7))
    events: list[Callable[[], None]] = [
        faults.requeue, faults.requeue, faults.preempt, faults.preempt_with_grace, faults.kill_step, faults.kill_step,
        faults.kill_worker, faults.controller_restarts, faults.node_dies, faults.time_limit,
    ]  # fmt: skip
    faults.draw.shuffle(events)
    launcher = project.start("run", "toy", "--on", "slurm", "--profile", "test", "--wait", "--json")
    until(lambda: len(cluster.jobs()) > 3, "the jobs are queued")
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
    assert len(states) == 18
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


# --- one thing at a time -------------------------------------------------------------------------------------


OWN = """
import time

from common.learners.base import Learner

VERSION = 1


class Mine(Learner):
    \"\"\"What was submitted is this, whatever this file becomes.\"\"\"


class Raises(Learner):
    \"\"\"Fails for its own reasons.\"\"\"

    def end(self, task):
        raise ArithmeticError("the loss went away")


class Slow(Learner):
    \"\"\"Gives time to look.\"\"\"

    def update(self, batch):
        time.sleep(0.05)
        return super().update(batch)
"""


def test_queued_jobs_run_what_was_submitted_and_one_that_fails_fails_alone(project: Project) -> None:
    (project.folder / "own_learners.py").write_text(OWN)
    cases = {name: {"learner": {"name": f"own_learners.{name}"}} for name in ("Mine", "Raises")} | {"er": CASES["er"]}
    project.spec("own", cases=cases, run=SHORT)
    project.profile("held", extra={"hold": True})
    sent = project.told("run", "toy", "--on", "slurm", "--profile", "held")
    assert len(sent["submitted"]) == 3
    rows = project.told("status", "toy", "--tier", "smoke")
    assert {(r["state"], r["waits_for"]) for r in rows} == {("queued", "JobHeldUser")}
    (project.folder / "own_learners.py").write_text(
        OWN.replace("class Mine(Learner):", "class Mine(Learner):\n    update = None")
    )
    (project.folder / "common" / "loop.py").write_text("raise RuntimeError('the working tree has moved on')\n")
    for job in project_jobs(project):
        subprocess.run(["scontrol", "release", job], env=project.environment, check=True)
    states = project.finish()
    by_learner = {run_id.split("-")[0]: state for run_id, state in states.items()}
    assert by_learner == {"mine": "done", "raises": "failed", "er": "done"}
    raises = next(i for i in states if i.startswith("raises"))
    assert project.status_of(raises)["error"] == "ArithmeticError: the loss went away"
    assert "raise ArithmeticError" in (project.runs / raises / "traceback.txt").read_text()
    assert project.status_of(raises)["sittings"] == 1


def project_jobs(project: Project) -> list[str]:
    """Ids of the queue's jobs, arrays as a whole."""
    done = subprocess.run(
        ["squeue", "-h", "-o", "%F"], env=project.environment, capture_output=True, text=True, check=True
    )
    return sorted(set(done.stdout.split()))


def test_a_folder_of_runs_that_a_node_cannot_write(cluster: Cluster, project: Project) -> None:
    project.spec("plain", run=SHORT)
    project.profile("n2", extra={"nodelist": "n2"})
    node = (cluster.folder / "pid" / "n2").read_text().strip()
    runs = str(project.runs)
    project.runs.mkdir()
    inside = ["nsenter", "-t", node, "-m"]
    subprocess.run([*inside, "mount", "--bind", runs, runs], check=True)
    subprocess.run([*inside, "mount", "-o", "remount,ro,bind", runs], check=True)
    try:
        project.replicate("run", "toy", "--on", "slurm", "--profile", "n2")
        states = project.finish()
        (row,) = project.told("status", "toy", "--tier", "smoke")
    finally:
        subprocess.run([*inside, "umount", runs], check=True)
    assert set(states.values()) == {"failed"}
    assert "on n2" in row["error"]
    assert "before the run could write anything" in row["error"]
    project.replicate("run", "toy", "--on", "slurm", "--profile", "n2")
    assert set(project.finish().values()) == {"done"}


def test_a_job_script_of_ones_own_beside_the_arrays_writes_no_run_twice(cluster: Cluster, project: Project) -> None:
    (project.folder / "own_learners.py").write_text(OWN)
    project.spec("slow", run={**SHORT, "learner": {"name": "own_learners.Slow"}}, seeds="0-3")
    project.replicate("run", "toy", "--on", "slurm", "--profile", "test")
    until(lambda: "running" in project.states().values(), "a run is under way")
    wrapper = project.folder / "replicate"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -m common.cli "$@"\n')
    wrapper.chmod(0o755)
    options = ["--mem=1G", "--cpus-per-task=2", f"--chdir={project.folder}", f"--output={project.folder}/own.log"]
    script = str(project.folder / "slurm" / "one_job.sbatch")
    subprocess.run(
        ["sbatch", *options, script, "toy"], check=True, env=project.environment | {"REPLICATE": str(wrapper)},
    )  # fmt: skip
    assert set(project.finish().values()) == {"done"}
    until(lambda: not cluster.jobs(), "the queue empties")
    assert {project.status_of(run_id)["sittings"] for run_id in project.states()} == {1}
    said = (project.folder / "own.log").read_text()
    assert "0 failed" in said
    assert "Traceback" not in said


def test_parents_first_and_cancel_and_on_again(cluster: Cluster, project: Project) -> None:
    (project.folder / "own_learners.py").write_text(OWN)
    slow = {
        **SMALL,
        "learner": {"name": "own_learners.Slow"},
        "budget": {"iterations": 100, "batch": 8},
    }  # 15 s at least
    project.spec("base", run=slow)
    project.spec("child", run={**slow, "parent": {"spec": "toy/base", "take": "all"}}, seeds="0-1")
    project.replicate("run", "toy", "--on", "slurm", "--profile", "test")
    until(lambda: "running" in project.states("toy/base").values(), "a parent is under way")
    rows = project.told("status", "toy/child", "--tier", "smoke")
    assert {row["waits_for"] for row in rows if row["state"] == "queued" and row["spec"] == "toy/child"} == {
        "Dependency"
    }
    told = project.told("cancel", "toy")
    assert len(told["runs"]) == 4
    until(lambda: not cluster.jobs(), "the queue empties")
    states = project.states()
    assert set(states.values()) <= {"interrupted", "missing"}
    kept = {i: project.status_of(i)["updates"] for i, state in states.items() if state == "interrupted"}
    assert any(kept.values())
    project.replicate("run", "toy", "--on", "slurm", "--profile", "test", "--wait")
    assert set(project.states().values()) == {"done"}
    assert not any(project.status_of(run_id)["redone"] for run_id in states)


def test_a_run_that_two_processes_share_goes_on_after_a_requeue(project: Project, cluster: Cluster) -> None:
    (project.folder / "own_learners.py").write_text(OWN)
    project.spec("big", run={**SHORT, "learner": {"name": "own_learners.Slow"}})
    project.profile("pair", processes=2, nodes=2)
    project.replicate("run", "toy", "--on", "slurm", "--profile", "pair")
    (run_id,) = project.states()
    until(lambda: (project.runs / run_id / "checkpoint.pt").exists(), "the run is under way")
    assert len(cluster.call("squeue", "-h", "-o", "%N").strip()) > len("n1")  # two nodes
    (job,) = cluster.jobs("RUNNING")
    cluster.call("scontrol", "requeue", job)
    until(lambda: project.states()[run_id] == "preempted", "status tells of it")
    assert project.finish() == {run_id: "done"}
    status = project.status_of(run_id)
    assert (status["sittings"], status["redone"]) == (2, 0)
    assert json.loads((project.runs / run_id / "provenance.json").read_text())["processes"] == 2
    with_two = project.tables()["runs.csv"]
    project.environment["REPLICATE_RUNS"] += "-alone"
    project.replicate("run", "toy", "--workers", "1")
    ours, alone = (next(csv.DictReader(io.StringIO(raw.decode()))) for raw in (with_two, project.tables()["runs.csv"]))
    assert ours["run_id"] == alone["run_id"]
    assert abs(float(ours["acc"]) - float(alone["acc"])) < 0.02


def test_a_thousand_runs_in_the_queue(cluster: Cluster, project: Project) -> None:
    project.spec("many", run=SHORT, seeds="0-1049")
    project.profile("held", runs_per_job=1, extra={"hold": True})
    sent = project.told("run", "toy", "--on", "slurm", "--profile", "held")
    assert len(sent["submitted"]) == sent["jobs"] == 1050
    assert len(sent["arrays"]) == 2  # the cluster takes 1,000 elements at most
    assert len(cluster.jobs("PENDING")) == 1050
    assert list(project.states().values()) == ["queued"] * 1050
    files = [p for p in project.runs.rglob("*") if p.is_file() and "code" not in p.parts and ".cache" not in p.parts]
    assert len(files) < 1.1 * 1050  # one a job until it runs
    again = project.told("run", "toy", "--on", "slurm", "--profile", "held")
    assert again["submitted"] == []
    assert len(project.told("cancel", "toy")["jobs"]) == 1050
    until(lambda: not cluster.jobs(), "the queue empties")
    assert set(project.states().values()) == {"missing"}


def test_every_command_of_the_page_works_in_its_order(project: Project) -> None:
    page = (ROOT / "slurm" / "README.md").read_text()
    lines = [line for block in re.findall(r"```sh\n(.*?)```", page, flags=re.S) for line in block.splitlines()]
    commands = [line.partition("  #")[0].split() for line in lines]
    assert sum(words[0] == "replicate" for words in commands) >= 6
    shutil.copytree(ROOT / "papers" / "stability_gap", project.folder / "papers" / "stability_gap")
    for words in commands:
        if words[0] == "replicate":
            project.replicate(*words[1:])
        else:
            subprocess.run(words, cwd=project.folder, check=True)
            assert words[-1] == "slurm/mine.yaml"
            project.profile("mine")  # what the page tells to change: this cluster's partition, and less of everything
    assert set(project.states("stability_gap/er").values()) == {"done"}
    results = Path(project.environment["REPLICATE_RESULTS"]) / "stability_gap" / "smoke"
    assert (results / "er.png").exists()
