"""What to ask a cluster for: one YAML file per kind of job, `slurm/<name>.yaml` or a path of your own."""

from __future__ import annotations  # the types of the keys as texts, to check values against

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from common import parts, scheduler
from common.errors import Problem, nearest
from common.places import ROOT

FOLDER = ROOT / "slurm"


@dataclass(frozen=True)
class Profile:
    """One kind of job. Times as SLURM writes them ("12:00:00", "2-00"), memory in GB, None: the cluster's default.

    cpus, gpus, memory: of one job on one node. workers: runs at a time in it (None: one a GPU, else one a CPU).
    processes: processes that share one run (data parallel; 1 is right for all but big networks). nodes: they lie on.
    signal: what SLURM sends before it ends a job, and how many seconds before: time to save and to be queued again.
    save_minutes: most work that a sudden death can cost a run. status_seconds: how often a run reports.
    minutes_per_job: runs are packed into one job until they are expected to fill this time; runs_per_job: or are so many.
    parallel: elements of one array that may run at a time. requeues: times a job may start anew.
    modules, setup: loaded, or run as shell lines, before Python. mail: address; mail_on: SLURM's events for it.
    device: cpu, cuda or auto. extra: further sbatch options, such as {reservation: spring}.
    """

    name: str
    time: str
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    cpus: int = 1
    gpus: int = 0
    memory: float | None = None
    nodes: int = 1
    processes: int = 1
    workers: int | None = None
    device: str = "auto"
    signal: str = "USR2@120"
    save_minutes: float = 5.0
    status_seconds: float = 10.0
    minutes_per_job: float = 30.0
    runs_per_job: int | None = None
    parallel: int = 256
    requeues: int = 1000
    modules: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    mail: str | None = None
    mail_on: str = "END,FAIL"
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def minutes(self) -> int:
        """The time limit in minutes; at least one."""
        return max(1, scheduler.minutes(self.time) or 1)

    @property
    def at_a_time(self) -> int:
        """Runs that one job carries out at a time."""
        return 1 if self.processes > 1 else self.workers or self.gpus or self.cpus

    @property
    def signal_name(self) -> str:
        """USR2 of USR2@120."""
        return self.signal.partition("@")[0].removeprefix("SIG")

    @property
    def signal_seconds(self) -> int:
        """120 of USR2@120."""
        return int(self.signal.partition("@")[2])

    @property
    def patience(self) -> float:
        """Seconds of these that runs have to save in; the rest is for the job to be queued again."""
        return max(5.0, self.signal_seconds / 2, self.signal_seconds - 20.0)


KEYS = {f.name: f for f in dataclasses.fields(Profile) if f.name != "name"}
SMALLEST = {"cpus": 1, "nodes": 1, "processes": 1, "workers": 1, "gpus": 0, "parallel": 1, "runs_per_job": 1, "requeues": 0,
            "memory": 0.1, "save_minutes": 0.01, "status_seconds": 0.5, "minutes_per_job": 0}  # fmt: skip
HINTS = {
    "time": " Put times in quotes: YAML reads 12:00 as a number.",
    "memory": " Give GB as a number, such as memory: 64.",
}
SBATCH = {  # options of sbatch that have another name here
    "gpus_per_node": "gpus", "gpus_per_task": "gpus", "gres": "gpus", "mem": "memory", "cpus_per_task": "cpus",
    "ntasks": "processes", "ntasks_per_node": "processes", "mail_user": "mail", "mail_type": "mail_on",
}  # fmt: skip


def names() -> list[str]:
    """Names of the profiles in slurm/."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str | None) -> Profile:
    """The profile of that name. Errors: one Problem with all that is wrong in it."""
    known = ", ".join(names()) or "none"
    if not name:
        raise Problem(f"--on slurm needs --profile NAME, a file in slurm/ ({known}) or the path of a YAML file.")
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    try:
        content = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise Problem(
            f"There is no profile '{name}' ({path} is missing).{nearest(name, names())} Profiles: {known}."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Problem(f"The profile {path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise Problem(f"The profile {path} is {content!r}, but must be a mapping with: {', '.join(KEYS)}.")
    wrong = _wrong(content)
    if wrong:
        raise Problem(*(f"profile {path.name}: {sentence}" for sentence in wrong))
    values: dict[str, Any] = {k: float(v) if KEYS[k].type == "float" else v for k, v in content.items()}
    return Profile(path.stem, **values)


def _wrong(content: dict[str, Any]) -> list[str]:
    """Everything wrong with the keys and values of a profile."""
    found = [
        f"'{key}' is no key of a profile.{_meant(str(key))} Allowed: {', '.join(KEYS)}."
        for key in content
        if key not in KEYS
    ]
    if "time" not in content:
        found.append("time is missing, the time limit of a job, such as time: '04:00:00'.")
    for key, value in content.items():
        if key in KEYS and not _fits(value, str(KEYS[key].type)):
            found.append(f"{key} is {value!r}, but must be of type {KEYS[key].type}.{HINTS.get(key, '')}")
        elif key in SMALLEST and value is not None and value < SMALLEST[key]:
            found.append(f"{key} is {value}, but must be at least {SMALLEST[key]}.")
    return found or _impossible(content)


def _meant(key: str) -> str:
    """The key that an option of sbatch stands for, or the nearest one."""
    plain = key.replace("-", "_")
    return f" Here it is called '{SBATCH[plain]}'." if plain in SBATCH else nearest(key, KEYS)


def _fits(value: Any, annotation: str) -> bool:
    if annotation.startswith("dict"):
        return isinstance(value, dict) and all(isinstance(key, str) for key in value)
    return parts.fit(value, annotation)[1]


def _impossible(content: dict[str, Any]) -> list[str]:
    """What does not go together, of values that are each of the right type."""
    found = []
    try:
        limit = scheduler.minutes(content["time"])
    except ValueError:
        return [
            f"time is '{content['time']}', but must look like 30, 12:00:00 or 2-00:00:00 (days-hours:minutes:seconds)."
        ]
    if limit is None or limit < 1:
        return [f"time is '{content['time']}', but a job needs a limit of at least a minute."]
    if not re.fullmatch(r"(SIG)?(USR1|USR2|HUP|XCPU)@\d+", content.get("signal", "USR2@120")):
        return [
            f"signal is '{content['signal']}', but must look like USR2@120: a signal (USR1, USR2, HUP, XCPU) and seconds."
        ]
    made = Profile("", **content)
    if made.save_minutes >= limit:
        found.append(
            f"save_minutes is {made.save_minutes:g}, not shorter than the time limit of {limit} minutes: a job that dies "
            "would lose all it did. Make save_minutes smaller or time longer."
        )
    if made.signal_seconds >= 60 * limit:
        found.append(
            f"signal {made.signal} comes {made.signal_seconds} s before the end of a job of {60 * limit} s: it would be told "
            "to leave at its start. Make the seconds fewer or time longer."
        )
    if made.device not in ("auto", "cpu", "cuda"):
        found.append(f"device is '{made.device}'; allowed: auto, cpu, cuda.")
    if made.device == "cuda" and not made.gpus:
        found.append("device is 'cuda', but gpus is 0. Ask for gpus: 1.")
    if made.processes % made.nodes:
        found.append(f"processes is {made.processes}, which {made.nodes} nodes cannot share evenly.")
    if made.nodes > 1 and made.processes == 1:
        found.append(
            "nodes is above 1 with one process a run: give processes, or leave nodes out (runs share no node)."
        )
    return found
