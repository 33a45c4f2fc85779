"""A real SLURM of three virtual nodes for tests, and a small project of its own whose runs it carries out."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.helpers import SMALL

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "slurm" / "devcluster"
PATIENCE = 600  # seconds without any sign of life after which a test gives up; no test is about speed
OF_SLURM = re.compile(r"SLURM|SBATCH|SRUN|SUBMITIT")


def why_not() -> str:
    """Why no cluster can be brought up here; empty when it can."""
    if os.geteuid() != 0:
        return "the development cluster needs root"
    missing = [name for name in ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd") if not shutil.which(name)]
    if missing:
        return f"SLURM is not installed here ({', '.join(missing)} missing; see slurm/README.md)"
    namespaces = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "true"]
    if subprocess.run(namespaces, capture_output=True).returncode:
        return "the development cluster needs namespaces (unshare), which are not permitted here"
    return ""


WHY_NOT = why_not()


@dataclass
class Cluster:
    """A cluster that `slurm/devcluster up` made, in a folder of its own."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which SLURM's commands speak to it."""
        clean = {k: v for k, v in os.environ.items() if not OF_SLURM.match(k)}
        return clean | {"DEVCLUSTER_DIR": str(self.folder), "SLURM_CONF": str(self.folder / "slurm.conf")}

    def do(self, verb: str, *words: str) -> str:
        """What a verb of devcluster says; fails the test when the verb fails."""
        done = subprocess.run(
            [SCRIPT, verb, *words], env=self.environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert done.returncode == 0, f"devcluster {verb}: {done.stdout}{done.stderr}"
        return done.stdout

    def call(self, *words: str, code: int | None = 0) -> str:
        """What a command of SLURM prints."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        assert code is None or done.returncode == code, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def jobs(self, *states: str) -> dict[str, str]:
        """job -> node, of the jobs in these states (all that wait or run, when none is named)."""
        text = self.call("squeue", "--noheader", "--array", "--format", "%i %T %N")
        rows = [line.split(" ") for line in text.splitlines()]
        return {job: node for job, state, node in rows if not states or state in states}

    def empty(self) -> None:
        """Cancels everything and waits until the queue is empty."""
        self.call("scancel", "--user", "root")
        until(lambda: not self.jobs(), "the queue empties")


@dataclass
class Project:
    """A copy of the code with one paper, toy, whose specs a test writes; runs and results of its own."""

    folder: Path
    environment: dict[str, str]

    @classmethod
    def new(cls, folder: Path, cluster: Cluster) -> "Project":
        """The project in a new folder."""
        no_cache = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "common", folder / "common", ignore=no_cache)
        shutil.copytree(ROOT / "slurm", folder / "slurm", ignore=no_cache)
        places = {f"REPLICATE_{name.upper()}": str(folder / name) for name in ("runs", "results", "data")}
        made = cls(folder, cluster.environment | places | {"PYTHONPATH": str(folder)})
        made.profile("test")
        return made

    @property
    def runs(self) -> Path:
        """Folder of its runs."""
        return Path(self.environment["REPLICATE_RUNS"])

    def spec(self, name: str, **content: Any) -> None:
        """Writes a spec of the paper toy."""
        path = self.folder / "papers" / "toy" / "specs" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({"run": SMALL, "tiers": {"smoke": {}}, **content}))

    def profile(self, name: str, **content: Any) -> None:
        """Writes a profile of short jobs, one run at a time."""
        plain = {
            "partition": "batch", "time": "00:30:00", "cpus": 1, "memory": 1, "signal": "USR2@30", "device": "cpu",
            "save_minutes": 0.05, "status_seconds": 1, "runs_per_job": 3,
        }  # fmt: skip
        (self.folder / "slurm" / f"{name}.yaml").write_text(yaml.safe_dump(plain | content))

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """`replicate ...` as a process of its own."""
        command = [sys.executable, "-m", "common.cli", *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def replicate(self, *words: str, code: int = 0) -> str:
        """What `replicate ...` prints."""
        process = self.start(*words)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, f"{words}: {out}{err}"
        assert "Traceback" not in err, err
        return out if code == 0 else out + err

    def told(self, *words: str, **more: Any) -> Any:
        """What `replicate ... --json` prints, read."""
        return json.loads(self.replicate(*words, "--json", **more))

    def states(self, target: str = "toy") -> dict[str, str]:
        """run -> state."""
        return {row["run"]: row["state"] for row in self.told("status", target, "--tier", "smoke")}

    def status_of(self, run_id: str) -> dict[str, Any]:
        """What the run's own folder says."""
        return dict(json.loads((self.runs / run_id / "status.json").read_text()))

    def updates(self) -> int:
        """Updates that all runs have made."""
        return sum(json.loads(path.read_text())["updates"] for path in self.runs.glob("*/status.json"))

    def finish(self, target: str = "toy") -> dict[str, str]:
        """The states once nothing of the target is queued or under way."""
        last: dict[str, str] = {}

        def over() -> bool:
            nonlocal last
            last = self.states(target)
            return not set(last.values()) & {"queued", "running", "preempted"}

        until(over, lambda: f"the runs end: {last}", lambda: (last, self.updates()))
        return last

    def tables(self) -> dict[str, bytes]:
        """name -> content of every stored table, but for where the runs were made."""
        self.replicate("figures", "toy", "--tier", "smoke")
        folder = Path(self.environment["REPLICATE_RESULTS"]) / "toy" / "smoke"
        return {p.name: p.read_bytes() for p in folder.glob("*.csv") if p.name != "provenance.csv"}


def until(true: Callable[[], bool], what: str | Callable[[], str], moves: Callable[[], Any] = lambda: None) -> None:
    """Waits for a condition; fails the test when nothing has moved for a long while. moves: what shows that something does."""
    since, last = time.monotonic(), moves()
    while not true():
        if (now := moves()) != last:
            since, last = time.monotonic(), now
        waited = time.monotonic() - since
        assert waited < PATIENCE, f"not within {PATIENCE} s: {what if isinstance(what, str) else what()}"
        time.sleep(0.5)


def processes_of(job: str, main: bool) -> list[int]:
    """Process numbers of a job: the one that submitit started, or its workers."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                raw = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
                command = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            except OSError:
                continue
            inside = dict(line.partition("=")[::2] for line in raw)
            name = (
                f"{inside.get('SLURM_ARRAY_JOB_ID', inside.get('SLURM_JOB_ID'))}_{inside.get('SLURM_ARRAY_TASK_ID', 0)}"
            )
            kind = "-m submitit.core._submit" in command if main else "spawn_main" in command
            if name == (job if "_" in job else f"{job}_0") and kind and "srun" not in command.split(" ")[0]:
                found.append(int(folder.name))
    return sorted(found)
