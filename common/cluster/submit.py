"""From requests to job arrays: everything is checked first, then the code is copied, then SLURM gets the jobs."""

import os
import sys
from pathlib import Path
from typing import Any

from common import estimate, scheduler
from common.cluster import snapshot, states, submission
from common.cluster.job import Runs
from common.cluster.profile import Profile
from common.cluster.submission import Jobs, Submission
from common.errors import Problem, nearest
from common.files import write_atomic
from common.places import cluster_dir, data_dir, results_dir, runs_dir
from common.sweep import Request

IN_QUEUE = ("queued", "running", "preempted")
# A job that was killed from outside (and did not save and leave) is put back by its own script. SLURM does so itself
# for a dead node, and submitit at a warning. A run that dies again and again without getting on counts as failed.
TEARDOWN = [
    "code=$?",
    'case $code in 134|135|137|139) [ "$(squeue -h -j "$SLURM_JOB_ID" -o %T)" = RUNNING ] && '
    'scontrol requeue "$SLURM_JOB_ID";; esac',
    "exit $code",
]


def submit(requests: list[Request], updates: dict[str, int], profile: Profile, dry: bool = False) -> dict[str, Any]:
    """What was submitted: {"submission", "jobs", "submitted" (run ids), "before", "in_queue", "scripts", "profile"}.

    Runs that are done, queued or running are left alone. dry: the batch scripts as they would be; nothing is changed.
    Errors: Problem for what the cluster would refuse, before anything is queued.
    """
    largest = check(profile, dry)
    view = states.look()
    if view.trouble and not dry:
        raise Problem(f"SLURM's queue cannot be read, so what waits there is unknown: {view.trouble}")
    now = states.standing({r.run_id for r in requests}, view)
    wanted = list({r.run_id: r for r in requests if now[r.run_id]["state"] not in ("done", *IN_QUEUE)}.values())
    arrays = _arrays(wanted, profile, largest)
    code = cluster_dir() / "code" / "<digest>" if dry or not wanted else snapshot.take([r.run for r in wanted])
    made = submission.new(profile, code, ["replicate", *sys.argv[1:]])
    made.arrays = {f"{made.name}.{k}": jobs for k, (jobs, _) in enumerate(arrays)}
    layers = [layer for _, layer in arrays]
    scripts = {name: _script(made, name, profile) for name in made.arrays}
    ids: list[str] = []
    if wanted and not dry:
        _refused(scripts)
        made.store(wanted, updates)
        parents = {p.run_id for r in wanted for p in r.parents} & view.queue.keys()
        ids = _send(made, profile, layers, sorted({view.queue[i][0].job.partition("_")[0] for i in parents}))
    states_of = {state: [i for i in now if now[i]["state"] == state] for state in ("done", *IN_QUEUE)}
    return {
        "submission": made.name if ids else None,
        "profile": profile.name,
        "arrays": ids,
        "jobs": sum(map(len, made.arrays.values())),
        "submitted": [r.run_id for r in wanted],
        "before": states_of["done"],
        "in_queue": [i for state in IN_QUEUE for i in states_of[state]],
        "folder": str(made.folder),
        "scripts": scripts if dry else {},
    }


def check(profile: Profile, dry: bool = False) -> int:
    """Most elements that an array may have here. dry: 1000 where SLURM cannot be asked.

    Errors: Problem for a partition that is not there, a time that it does not grant, or no SLURM at all.
    """
    try:
        known, largest = scheduler.partitions(), scheduler.largest_array()
    except scheduler.Unreachable:
        if dry:
            return 1000
        raise
    asked = profile.partition.split(",") if profile.partition else []
    wrong = [name for name in asked if name not in known]
    if wrong:
        raise Problem(
            f"profile {profile.name}: there is no partition '{wrong[0]}' here.{nearest(wrong[0], known)} "
            f"Partitions: {', '.join(known)}."
        )
    limit = max((known[name] or 10**9 for name in asked), default=10**9)
    if profile.minutes > limit:
        raise Problem(
            f"profile {profile.name}: time is {profile.time}, but jobs of partition {profile.partition} end after "
            f"{limit} minutes. Ask for less: runs go on in a further start of their job anyway."
        )
    return largest


def _arrays(wanted: list[Request], profile: Profile, largest: int) -> list[tuple[Jobs, int]]:
    """(jobs, layer) of each array: parents in an earlier layer than their children, no array above the cluster's limit."""
    found: list[tuple[Jobs, int]] = []
    for layer, requests in enumerate(submission.generations(wanted)):
        jobs = submission.packed(requests, estimate.seconds(requests)[0], profile)
        found += [(jobs[start : start + largest], layer) for start in range(0, len(jobs), largest)]
    return found


def _send(made: Submission, profile: Profile, layers: list[int], waiting: list[str]) -> list[str]:
    """SLURM's ids of the arrays. A layer waits until the one before it, and any parents in the queue, have ended."""
    ids: list[tuple[int, str]] = []
    for (name, jobs), layer in zip(made.arrays.items(), layers, strict=True):
        after = [job for its, job in ids if its == layer - 1] + waiting
        try:
            ids.append((layer, _send_array(made, name, jobs, profile, after)))
        except Exception as error:  # submitit's errors have no common type
            sent = f" Arrays {', '.join(i for _, i in ids)} are queued." if ids else " Nothing was queued."
            said = " ".join(str(error).split())
            raise Problem(
                f"SLURM did not take array {name}: {said}.{sent} The same command submits the rest."
            ) from error
    return [job for _, job in ids]


def _send_array(made: Submission, name: str, jobs: Jobs, profile: Profile, after: list[str]) -> str:
    import submitit

    folder = _logs(made, name)
    with scheduler.clean_environment():
        executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=profile.requeues)
        executor.update_parameters(**_parameters(made, name, profile, after))
        with executor.batch():
            sent = [executor.submit(Runs(str(made.folder), run_ids)) for run_ids in jobs]
    return str(sent[0].job_id).partition("_")[0]


def _logs(made: Submission, name: str) -> Path:
    return made.folder / name.rpartition(".")[2]


def _parameters(made: Submission, name: str, profile: Profile, after: list[str]) -> dict[str, Any]:
    """The profile in submitit's words."""
    given = {
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "constraint": profile.constraint,
        "mem": f"{round(1024 * profile.memory)}MB" if profile.memory else None,
        "gpus_per_node": profile.gpus or None,
        "mail_user": profile.mail,
        "mail_type": profile.mail_on if profile.mail else None,
        "dependency": "afterany:" + ":".join(after) if after else None,
    }
    return {key: value for key, value in given.items() if value is not None} | {
        "job_name": name,
        "time": profile.minutes,
        "nodes": profile.nodes,
        "ntasks_per_node": profile.processes // profile.nodes,
        "cpus_per_task": profile.cpus,
        "signal_delay_s": profile.signal_seconds,
        "array_parallelism": profile.parallel,
        "stderr_to_stdout": True,
        "setup": _setup(made, profile),
        "teardown": TEARDOWN,
        "srun_args": [f"--cpus-per-task={profile.cpus}", "--kill-on-bad-exit=1"],  # srun does not take sbatch's
        "additional_parameters": {
            "requeue": True,
            "chdir": made.code,  # so that Python finds the copy first
            "signal": profile.signal,
            **profile.extra,
        },
    }


def _setup(made: Submission, profile: Profile) -> list[str]:
    """Shell lines before Python: modules, the folders that hold data and runs, one thread a process."""
    from shlex import quote

    places = {"RUNS": runs_dir(), "DATA": data_dir(), "RESULTS": results_dir()}
    exports = [f"export REPLICATE_{name}={quote(str(path.absolute()))}" for name, path in places.items()]
    return [
        *(f"module load {module}" for module in profile.modules),
        *profile.setup,
        *exports,
        f"export PYTHONPATH={quote(made.code)}",
        f"export SUBMITIT_PREEMPT_SIGNAL={profile.signal_name}",
        "export OMP_NUM_THREADS=1",
    ]


def _script(made: Submission, name: str, profile: Profile) -> str:
    """The batch script of an array, as submitit will write it (without what it waits for, which SLURM numbers later)."""
    from submitit.slurm.slurm import _make_sbatch_string

    folder = _logs(made, name)
    count = len(made.arrays[name])
    parameters = _parameters(made, name, profile, [])
    python = f"{sys.executable} -u -m submitit.core._submit {folder}"
    return str(_make_sbatch_string(python, folder, map_count=count if count > 1 else None, **parameters))


def _refused(scripts: dict[str, str]) -> None:
    """Nothing. Errors: Problem with SLURM's own words when it would not take a script; nothing is queued."""
    path = cluster_dir() / f".test-{os.getpid()}.sh"
    try:
        for script in list(scripts.values())[:1]:  # they differ in names and numbers of elements alone
            write_atomic(path, script)
            with scheduler.clean_environment():
                said = scheduler.tested(path)
            if said:
                raise Problem(f"Nothing was queued. {said}")
    finally:
        path.unlink(missing_ok=True)
