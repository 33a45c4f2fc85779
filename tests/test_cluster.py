"""What goes to a cluster and what is told of it, with SLURM's commands replaced by scripts (test_slurm.py has a real one)."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from common import scheduler, specfiles, sweep, verbs
from common.cli import main
from common.cluster import job, profile, snapshot, states, submission
from common.errors import Problem
from common.outcome import Settings
from common.places import cluster_dir, runs_dir
from common.record import RunFolder
from common.spec import RunSpec
from common.writers import this_process
from tests.helpers import SMALL

Write = Callable[..., Path]
TOY: dict[str, Any] = {
    "run": {**SMALL, "budget": {"iterations": 4, "batch": 8}},
    "tiers": {"smoke": {}},
    "seeds": "0-5",
}

FAKE = r"""#!/bin/bash
# A command of SLURM: notes how it was called, then says what the test laid down for it.
name=$(basename "$0"); here=$(dirname "$0")
echo "$name $*" >> "$here/calls"
[ -e "$here/$name.err" ] && { cat "$here/$name.err" >&2; exit 1; }
if [ "$name" = sbatch ] && [ "$1" != --test-only ]; then
    n=$(( $(cat "$here/last" 2>/dev/null || echo 100) + 1 )); echo $n > "$here/last"; cp "$1" "$here/script.$n"
    echo "Submitted batch job $n"
fi
cat "$here/$name.out" 2>/dev/null
exit 0
"""


class Slurm:
    """SLURM's commands on the path, as scripts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("sbatch", "srun", "squeue", "sinfo", "scontrol", "sacct", "scancel"):
            (folder / name).write_text(FAKE)
            (folder / name).chmod(0o755)
        self.says("sinfo", "batch|1-00:00:00\nshort|30:00\n")
        self.says("scontrol", "MaxArraySize            = 1001\n")

    def says(self, name: str, text: str) -> None:
        """What a command prints from now on."""
        (self.folder / f"{name}.out").write_text(text)

    def refuses(self, name: str, text: str) -> None:
        """A command fails from now on."""
        (self.folder / f"{name}.err").write_text(text)

    def calls(self, name: str) -> list[str]:
        """How a command was called so far."""
        path = self.folder / "calls"
        return [line for line in path.read_text().splitlines() if line.split()[0] == name] if path.exists() else []

    def queue(self, *rows: tuple[str, int | str, str, str, str, str]) -> None:
        """(array id, element, name, state, node, reason) of the jobs in the queue."""
        self.says(
            "squeue", "".join("|".join(map(str, (a, k, n, s, node, why))) + "\n" for a, k, n, s, node, why in rows)
        )


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Slurm:
    """SLURM's commands as scripts, first on the path."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return Slurm(tmp_path / "bin")


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """profiles(key=value, ...) writes the profile "mine" and returns its path."""

    def write(**content: Any) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump({"time": "01:00:00", "partition": "batch", **content}))
        return str(path)

    return write


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*words: str, code: int = 0) -> Any:
        capsys.readouterr()
        assert main([*words]) == code
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        if code == 0 and "--json" in words:
            return json.loads(out)
        return out + err

    return run


# --- profiles ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cpu", "gpu", "preemptible", "devcluster"])
def test_the_profiles_that_come_with_it_are_whole(name: str) -> None:
    assert name in profile.names()
    found = profile.load(name)
    assert found.minutes * 60 > found.signal_seconds
    assert found.at_a_time == (found.gpus or found.cpus)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"partion": "x"}, ("'partion' is no key of a profile", "Did you mean 'partition'?", "Allowed: time")),
        ({"gpus-per-node": 2, "mem": 4}, ("Here it is called 'gpus'", "Here it is called 'memory'")),
        ({"memory": "64GB"}, ("memory is '64GB'", "Give GB as a number, such as memory: 64.")),
        ({"time": 720}, ("time is 720", "of type str", "in quotes")),
        ({"time": "soon"}, ("time is 'soon'", "12:00:00")),
        ({"time": "0"}, ("at least a minute",)),
        ({"time": "infinite"}, ("needs a limit",)),
        ({"cpus": "four"}, ("cpus is 'four'", "int")),
        ({"cpus": 0}, ("cpus is 0", "at least 1")),
        ({"time": "5", "save_minutes": 5}, ("save_minutes is 5, not shorter than the time limit of 5 minutes",)),
        ({"time": "2", "save_minutes": 1, "signal": "USR2@120"}, ("comes 120 s before the end", "of 120 s")),
        ({"signal": "KILL@10"}, ("signal is 'KILL@10'", "USR2@120")),
        ({"signal": "USR2"}, ("signal is 'USR2'",)),
        ({"device": "cuda"}, ("gpus is 0", "gpus: 1")),
        ({"device": "tpu"}, ("device is 'tpu'", "auto, cpu, cuda")),
        ({"processes": 3, "nodes": 2}, ("3", "2 nodes cannot share evenly")),
        ({"modules": "cuda"}, ("modules is 'cuda'", "list[str]")),
        ({"extra": ["x"]}, ("extra is ['x']",)),
    ],
)
def test_a_wrong_profile_is_refused_in_plain_words(
    profiles: Callable[..., str], content: dict[str, Any], words: tuple[str, ...]
) -> None:
    with pytest.raises(Problem) as refused:
        profile.load(profiles(**content))
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert "mine.yaml" in str(refused.value)


@pytest.mark.parametrize(("lead", "patience"), [(600, 580), (120, 100), (60, 40), (30, 15), (0, 5)])
def test_runs_have_the_time_between_signal_and_limit_to_save_less_what_queueing_again_takes(
    lead: int, patience: float
) -> None:
    kind = profile.Profile("p", "02:00:00", signal=f"USR2@{lead}")
    made = submission.new(kind, Path("code"), ["replicate", "run"])
    assert Settings(**made.settings).patience == patience


def test_everything_wrong_with_profile_and_target_is_said_at_once(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], slurm: Slurm
) -> None:
    paper("one", TOY)
    path = profiles(cpus="x", gpu=1, memory=-1)
    text = said("run", "toy/one", "--on", "slurm", "--profile", path, "learner.name=nobody", code=1)
    for word in ("cpus is 'x'", "'gpu' is no key", "memory is -1", "which is no learner"):
        assert word in text
    assert not slurm.calls("sbatch")
    assert not cluster_dir().exists()


def test_a_profile_that_is_no_mapping_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("- a\n- b\n")
    with pytest.raises(Problem, match="must be a mapping"):
        profile.load(str(path))
    path.write_text("a: [")
    with pytest.raises(Problem, match="cannot be read"):
        profile.load(str(path))
    with pytest.raises(Problem, match=r"no profile 'cpux'.*Did you mean 'cpu'\?"):
        profile.load("cpux")
    with pytest.raises(Problem, match="needs --profile NAME"):
        profile.load(None)


@given(st.integers(0, 3), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_times_are_read_as_slurm_writes_them(days: int, hours: int, minutes: int, seconds: int) -> None:
    whole = -(-(((days * 24 + hours) * 60 + minutes) * 60 + seconds) // 60)
    assert scheduler.minutes(f"{days}-{hours:02}:{minutes:02}:{seconds:02}") == whole
    assert scheduler.minutes(f"{days * 24 + hours}:{minutes:02}:{seconds:02}") == whole
    assert scheduler.minutes(f"{minutes}:{seconds:02}") == minutes + (seconds > 0)
    assert scheduler.minutes(str(minutes)) == minutes
    assert scheduler.minutes(f"{days}-{hours}") == (days * 24 + hours) * 60


# --- packing -------------------------------------------------------------------------------------------------


def fake(k: int, spec: str = "a", parents: tuple[sweep.Request, ...] = ()) -> sweep.Request:
    class Run:
        run_id = f"run-{k}"

    return sweep.Request(Run(), "toy", spec, "smoke", "", parents)  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.one_of(st.none(), st.floats(0, 4000))), max_size=40),
    st.integers(1, 5),
    st.one_of(st.none(), st.integers(1, 4)),
)
def test_every_run_is_packed_once_and_jobs_are_full_by_the_rule(
    runs: list[tuple[str, float | None]], workers: int, most: int | None
) -> None:
    kind = profile.Profile("p", "02:00:00", workers=workers, minutes_per_job=10, runs_per_job=most)
    requests = [fake(k, spec) for k, (spec, _) in enumerate(runs)]
    jobs = submission.packed(requests, [seconds for _, seconds in runs], kind)
    assert [i for ids in jobs for i in ids] == [r.run_id for r in requests]
    took = {r.run_id: 600.0 if s is None else s for r, (_, s) in zip(requests, runs, strict=True)}
    spec = {r.run_id: r.spec for r in requests}
    for ids, after in zip(jobs, [*jobs[1:], []], strict=False):
        assert len({spec[i] for i in ids}) == 1
        assert len(ids) <= (most or len(ids))
        assert sum(took[i] for i in ids[:-1]) < 600 * workers  # there was room for the last one
        if after and spec[after[0]] == spec[ids[0]]:
            assert sum(took[i] for i in ids) >= 600 * workers - 1e-6 or len(ids) == most


def test_a_job_is_filled_to_half_its_limit_at_most() -> None:
    kind = profile.Profile("p", "00:20:00", minutes_per_job=60)
    assert [len(j) for j in submission.packed([fake(k) for k in range(4)], [300.0] * 4, kind)] == [2, 2]


def test_parents_are_in_earlier_layers() -> None:
    a = fake(0)
    b, c = fake(1, parents=(a,)), fake(2)
    d = fake(3, parents=(b,))
    layers = [[r.run_id for r in layer] for layer in submission.generations([a, b, c, d])]
    assert layers == [["run-0", "run-2"], ["run-1"], ["run-3"]]
    assert [[r.run_id for r in layer] for layer in submission.generations([d])] == [["run-3"]]  # its parents are done


# --- the copy of the code ------------------------------------------------------------------------------------


def copied(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_equal_code_is_kept_once_and_edited_code_apart(
    small: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "a.py").write_text("A = 1\n")
    (tmp_path / "common" / "notes.txt").write_text("not code")
    monkeypatch.setattr(snapshot, "ROOT", tmp_path)
    one = snapshot.take([small()])
    assert snapshot.take([small()]) == one
    assert copied(one) == {"common/a.py", "code-version.json"}
    (tmp_path / "common" / "a.py").write_text("A = 2\n")
    other = snapshot.take([small()])
    assert other != one
    assert (one / "common" / "a.py").read_text() == "A = 1\n"
    assert not [p for p in one.parent.iterdir() if p.name.startswith(".")]


def test_the_copy_holds_the_parts_of_ones_own_and_what_they_import(
    small: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    (mine / "my_kit").mkdir(parents=True)
    (mine / "my_kit" / "__init__.py").write_text("")
    (mine / "my_kit" / "tools.py").write_text("X = 1\n")
    (mine / "my_learner.py").write_text(
        "from common.learners.base import Learner\nfrom my_kit.tools import X\n\n\nclass Mine(Learner):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(mine))
    run = small("my_learner.Mine")
    folder = snapshot.take([run])
    assert {"my_learner.py", "my_kit/__init__.py", "my_kit/tools.py", "common/loop.py"} <= copied(folder)
    code = (
        "import my_learner, common.parts as p; print(my_learner.__file__, p.find('learner', 'my_learner.Mine').version)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == [str(folder / "my_learner.py"), run.learner.version], done.stderr


def test_a_copy_that_fails_leaves_nothing_and_says_why(
    small: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, raw: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Problem, match=r"could not be copied.*No space left.*Nothing was queued"):
        snapshot.take([small()])
    assert not list((cluster_dir() / "code").iterdir())


def test_a_spec_comes_back_from_what_was_stored(small: Callable[..., RunSpec]) -> None:
    run = small("er", {"evaluation.gradients": True}, seed=3)
    again = RunSpec.of(json.loads(json.dumps(run.science)))
    assert again == run
    assert again.run_id == run.run_id


# --- submitting ----------------------------------------------------------------------------------------------


def sent(said: Callable[..., Any], path: str, *more: str) -> dict[str, Any]:
    return dict(said("run", "toy/one", "--on", "slurm", "--profile", path, "--json", *more))


def test_no_slurm_on_the_path(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    paper("one", TOY)
    monkeypatch.setenv("PATH", "/nowhere")
    text = said("run", "toy/one", "--on", "slurm", "--profile", profiles(), code=1)
    assert "no `sinfo` on the path" in text
    assert "--on local" in text
    assert not cluster_dir().exists()


def test_slurm_without_a_cluster(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], slurm: Slurm
) -> None:
    paper("one", TOY)
    slurm.refuses("sinfo", "sinfo: fatal: Unable to process configuration file")
    text = said("run", "toy/one", "--on", "slurm", "--profile", profiles(), code=1)
    assert "No cluster answers here" in text
    assert "--on local" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"partition": "bach"}, ("no partition 'bach'", "Did you mean 'batch'?", "batch, short")),
        ({"partition": "short"}, ("time is 01:00:00", "end after 30 minutes")),
    ],
)
def test_what_the_cluster_does_not_have(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], slurm: Slurm,
    content: dict[str, Any], words: tuple[str, ...],
) -> None:  # fmt: skip
    paper("one", TOY)
    text = said("run", "toy/one", "--on", "slurm", "--profile", profiles(**content), code=1)
    assert all(word in text for word in words)
    assert not slurm.calls("sbatch")


def test_what_sbatch_itself_refuses_is_told_before_anything_is_queued(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], slurm: Slurm
) -> None:
    paper("one", TOY)
    slurm.refuses("sbatch", "sbatch: error: Invalid account or account/partition combination specified\n")
    text = said("run", "toy/one", "--on", "slurm", "--profile", profiles(account="nobody"), code=1)
    assert "Nothing was queued" in text
    assert "Invalid account" in text
    assert [line.split()[1] for line in slurm.calls("sbatch")] == ["--test-only"]
    assert not list(submission.jobs_dir().glob("*"))


def test_a_dry_run_prints_the_batch_script_and_changes_nothing(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], slurm: Slurm, tmp_path: Path
) -> None:
    paper("one", TOY)
    path = profiles(
        runs_per_job=2, account="grp", memory=1.5, cpus=2, modules=["py/3.11"], mail="a@b.c", extra={"reservation": "x"}
    )
    text = said("run", "toy/one", "--on", "slurm", "--profile", path, "--dry-run")
    for line in (
        "#SBATCH --array=0-2%3", "#SBATCH --account=grp", "#SBATCH --mem=1536MB", "#SBATCH --cpus-per-task=2",
        "#SBATCH --signal=USR2@120", "#SBATCH --requeue", "#SBATCH --reservation=x", "#SBATCH --mail-user=a@b.c",
        "module load py/3.11", f"export REPLICATE_RUNS={runs_dir()}", "would submit 6 runs in 3 jobs",
    ):  # fmt: skip
        assert line in text, line
    assert not slurm.calls("sbatch")
    assert not cluster_dir().exists()
    as_json = sent(said, path, "--dry-run")
    (script,) = as_json["scripts"].values()
    (tmp_path / "s.sh").write_text(script)
    subprocess.run(["bash", "-n", str(tmp_path / "s.sh")], check=True)


def test_submitted_once_then_only_what_is_missing_failed_or_new(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], slurm: Slurm
) -> None:
    paper("one", TOY)
    slurm.says("scontrol", "MaxArraySize            = 3\n")
    path = profiles(runs_per_job=1)
    first = sent(said, path)
    assert len(first["submitted"]) == 6
    assert first["arrays"] == ["101", "102", "103"]  # two elements each: the cluster's limit
    assert len([c for c in slurm.calls("sbatch") if "--test-only" not in c]) == 3
    name, ids = first["submission"], first["submitted"]
    alive = [(101 + k // 2, k % 2, f"{name}.{k // 2}", "PENDING", "", "Resources") for k in range(6)]
    slurm.queue(*alive)
    again = sent(said, path)
    assert again["submitted"] == []
    assert sorted(again["in_queue"]) == sorted(ids)
    more = sent(said, path, "--seeds", "0-7")
    assert len(more["submitted"]) == 2

    slurm.queue(*alive[:3])  # three are gone: one done, one failed, one without a word
    RunFolder(runs_dir() / ids[3]).write_status(state="done", updates=12, total=12)
    RunFolder(runs_dir() / ids[4]).write_status(state="failed", updates=3, total=12, error="ArithmeticError: no")
    third = sent(said, path)
    assert sorted(third["submitted"]) == sorted(ids[4:])
    assert third["before"] == [ids[3]]


def test_children_wait_for_the_arrays_of_their_parents(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], slurm: Slurm
) -> None:
    paper("base", TOY)
    paper("one", {**TOY, "run": {**TOY["run"], "parent": {"spec": "toy/base", "take": "all"}}})
    first = sent(said, profiles())
    assert len(first["submitted"]) == 12
    scripts = [(slurm.folder / f"script.{n}").read_text() for n in first["arrays"]]
    assert "--dependency" not in scripts[0]
    assert f"#SBATCH --dependency=afterany:{first['arrays'][0]}" in scripts[1]
    slurm.queue(
        (101, "N/A", f"{first['submission']}.0", "RUNNING", "n1", "None")
    )  # children cancelled, parents at work
    again = sent(said, profiles())
    assert len(again["submitted"]) == 6
    assert "#SBATCH --dependency=afterany:101" in (slurm.folder / f"script.{again['arrays'][0]}").read_text()


def test_the_jobs_pickle_holds_run_ids_alone_and_can_be_put_back(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], slurm: Slurm
) -> None:
    from submitit.core.utils import DelayedSubmission

    paper("one", TOY)
    first = sent(said, profiles(runs_per_job=2))
    pickles = sorted((submission.jobs_dir() / first["submission"]).glob("0/*.pkl"))
    assert len(pickles) == 3
    made = DelayedSubmission.load(pickles[0])
    assert vars(made.function) == {
        "folder": str(submission.jobs_dir() / first["submission"]), "run_ids": first["submitted"][:2],
    }  # fmt: skip
    assert vars(made.function.checkpoint().function) == vars(made.function)
    assert pickles[0].stat().st_size < 2000


# --- states --------------------------------------------------------------------------------------------------


def put(run_id: str, state: str, written: float | None = None, **more: Any) -> None:
    """A run folder as a job on another host left it."""
    status = {"state": state, "updates": 5, "total": 12, "sittings": 1, "host": "n1", "pid": 1, **more}
    folder = runs_dir() / run_id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status.json").write_text(json.dumps(status | {"written": time.time() if written is None else written}))


@pytest.mark.parametrize(
    ("left", "queue", "state"),
    [
        (None, "PENDING", "queued"),
        (None, "RUNNING", "queued"),  # its turn in its job has not come
        (None, None, "missing"),
        ({"state": "running", "job": "101_0"}, "RUNNING", "running"),
        ({"state": "running", "job": "101_0"}, "PENDING", "preempted"),  # put back before it could write a word
        ({"state": "running", "job": "101_0"}, "REQUEUE_HOLD", "preempted"),
        ({"state": "running", "job": "101_0"}, None, "interrupted"),
        ({"state": "interrupted", "job": "101_0"}, "PENDING", "preempted"),
        ({"state": "interrupted", "job": "101_0"}, "RUNNING", "preempted"),
        ({"state": "interrupted", "job": "101_0"}, None, "interrupted"),
        ({"state": "failed", "job": "101_0", "error": "E: no"}, "RUNNING", "failed"),
        ({"state": "failed", "job": "99_0", "error": "E: no", "written": 1.0}, "PENDING", "queued"),  # submitted again
        ({"state": "failed", "job": "101_0", "error": "E: no"}, None, "failed"),
        ({"state": "done", "job": "101_0"}, "RUNNING", "done"),
        ({"state": "done", "job": "101_0"}, None, "done"),
    ],
)
def test_the_state_of_a_run(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], slurm: Slurm,
    left: dict[str, Any] | None, queue: str | None, state: str,
) -> None:  # fmt: skip
    paper("one", {**TOY, "seeds": [0]})
    first = sent(said, profiles())
    (run_id,) = first["submitted"]
    if left:
        put(run_id, **left)
    if queue:
        slurm.queue(("101", 0, f"{first['submission']}.0", queue, "n1" if queue == "RUNNING" else "", "Priority"))
    before = len(slurm.calls("squeue")), len(slurm.calls("sacct"))
    (row,) = said("status", "toy/one", "--json")
    assert row["state"] == state
    assert len(slurm.calls("squeue")) == before[0] + 1
    assert len(slurm.calls("sacct")) <= before[1] + (state in ("missing", "interrupted"))
    if state in ("queued", "preempted"):
        assert row["job"] == "101_0"
        assert row["waits_for"] == ("its turn in its job" if queue == "RUNNING" else "Priority")
        assert row["error"] is None


def test_a_job_that_ended_without_a_word_is_told_from_accounting(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], slurm: Slurm
) -> None:
    paper("one", TOY)
    first = sent(said, profiles(runs_per_job=1))
    name, ids = f"{first['submission']}.0", first["submitted"]
    put(ids[2], "interrupted")
    rows = (f"101_0|{name}|FAILED|0:53|n2", f"101_1|{name}|CANCELLED by 0|0:0|n1", f"101_2|{name}|TIMEOUT|0:0|n1",
            f"101_3|{name}|COMPLETED|0:0|n1")  # fmt: skip
    slurm.says("sacct", "\n".join(rows) + "\n")
    found = {row["run"]: row for row in said("status", "toy/one", "--json")}
    assert len(slurm.calls("sacct")) == 1
    assert found[ids[0]]["state"] == "failed"
    assert "FAILED (exit code 0:53) on n2 before the run could write anything" in found[ids[0]]["error"]
    assert (found[ids[1]]["state"], found[ids[2]]["state"]) == ("missing", "interrupted")
    assert "TIMEOUT" in found[ids[2]]["error"]
    assert [found[i]["state"] for i in ids[3:]] == ["missing"] * 3
    slurm.queue((101, 4, name, "NODE_FAIL", "n3", "None"))  # what ended minutes ago, the queue still tells
    assert "NODE_FAIL on n3" in next(r["error"] for r in said("status", "toy/one", "--json") if r["run"] == ids[4])
    slurm.queue()
    slurm.refuses("sacct", "sacct: error: Slurm accounting storage is disabled\n")
    assert {row["state"] for row in said("status", "toy/one", "--json")} == {"missing", "interrupted"}


def test_a_queue_that_cannot_be_read_is_said_and_nothing_is_submitted_blindly(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], slurm: Slurm
) -> None:
    paper("one", TOY)
    path = profiles()
    first = sent(said, path)
    put(first["submitted"][0], "done")
    slurm.refuses("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
    text = said("status", "toy/one")
    assert "1 done, 5 missing" in text
    assert "note: states are from the run folders alone" in text
    assert "Unable to contact slurm controller" in text
    text = said("run", "toy/one", "--on", "slurm", "--profile", path, code=1)
    assert "queue cannot be read" in text
    assert "Unable to contact" in said("cancel", "toy/one", code=1)


def test_where_nothing_was_submitted_slurm_is_not_asked(paper: Write, said: Callable[..., Any], slurm: Slurm) -> None:
    paper("one", TOY)
    assert "6 missing" in said("status", "toy/one")
    assert "nothing was ever submitted" in said("cancel", "toy/one", code=1)
    assert not (slurm.folder / "calls").exists()


def test_cancel_ends_the_jobs_of_a_target_and_says_what_else_they_carried(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], slurm: Slurm
) -> None:
    paper("one", TOY)
    first = sent(said, profiles(runs_per_job=2))
    name = f"{first['submission']}.0"
    slurm.queue(
        *((101, k, name, "PENDING", "", "Priority") for k in range(3)), (77, "N/A", "other", "RUNNING", "n1", "")
    )
    told = said("cancel", "toy/one", "--seeds", "0,1,2", "--json")
    assert told["jobs"] == ["101_0", "101_1"]
    assert sorted(told["runs"]) == sorted(first["submitted"][:3])
    assert told["others"] == [first["submitted"][3]]
    assert slurm.calls("scancel") == ["scancel 101_0 101_1"]
    slurm.queue()
    assert "none of its runs is in the queue" in said("cancel", "toy/one")


# --- what a job does -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "state", "again"),
    [(137, "RUNNING", True), (139, "RUNNING", True), (137, "CANCELLED", False), (137, "PENDING", False),
     (1, "RUNNING", False), (255, "RUNNING", False), (0, "RUNNING", False)],
)  # fmt: skip
def test_the_batch_script_puts_a_killed_job_back_and_no_other(
    paper: Write, profiles: Callable[..., str], said: Callable[..., Any], slurm: Slurm, tmp_path: Path,
    code: int, state: str, again: bool,
) -> None:  # fmt: skip
    paper("one", TOY)
    (script,) = sent(said, profiles(), "--dry-run")["scripts"].values()
    (tmp_path / "job.sh").write_text(script)
    slurm.says("squeue", state)
    (slurm.folder / "srun").write_text(f"#!/bin/bash\nexit {code}\n")
    done = subprocess.run(["bash", str(tmp_path / "job.sh")], env=os.environ | {"SLURM_JOB_ID": "17"}, check=False)
    assert done.returncode == code
    assert slurm.calls("scontrol")[1:] == (
        ["scontrol requeue 17"] if again else []
    )  # the first one asked for MaxArraySize


@pytest.fixture
def handlers() -> Any:
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "state", "back"),
    [("USR2", "RUNNING", True), ("USR2", "", True), ("TERM", "RUNNING", True), ("TERM", "PENDING", False),
     ("TERM", "CANCELLED", False), ("TERM", "COMPLETING", False)],
)  # fmt: skip
def test_a_signal_sets_a_flag_and_submitit_is_called_after_all_is_saved(
    slurm: Slurm, handlers: None, monkeypatch: pytest.MonkeyPatch, number: str, state: str, back: bool
) -> None:
    called: list[int] = []
    signal.signal(signal.SIGUSR2, lambda n, frame: called.append(n))
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    slurm.says("squeue", state)
    asked = job.Asked()
    assert not asked()
    os.kill(os.getpid(), getattr(signal, f"SIG{number}"))
    assert asked()
    assert called == []
    with pytest.raises(SystemExit):
        asked.leave()
    assert called == ([signal.SIGUSR2] if back else [])


def test_a_controller_that_is_away_for_a_moment_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def requeue() -> None:
        calls.append(1)
        if len(calls) < 4:
            raise subprocess.CalledProcessError(1, "scontrol")

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    job._patiently(requeue)
    assert len(calls) == 4
    with pytest.raises(Problem, match="Every run is saved"):
        job._patiently(lambda: (_ for _ in ()).throw(subprocess.CalledProcessError(1, "scontrol")))


def stored(requests: list[sweep.Request], code: Path) -> submission.Submission:
    made = submission.new(profile.Profile("p", "1:00:00", device="cpu"), code, ["replicate", "run"])
    made.arrays = {f"{made.name}.0": [[r.run_id for r in requests]]}
    made.store(requests, {r.run_id: 12 for r in requests})
    return made


def test_a_job_carries_out_its_runs_and_names_the_failed_ones_without_trying_them_again(
    paper: Write, forked: None, handlers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "raising.py").write_text(
        "from common.learners.base import Learner\n\nVERSION = 1\n\n\nclass Raises(Learner):\n"
        "    def begin(self, task):\n        raise ArithmeticError('no')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    monkeypatch.setattr(sys, "argv", ["before"])
    paper("one", {**TOY, "seeds": [0], "cases": {"good": {}, "bad": {"learner": {"name": "raising.Raises"}}}})
    requests = sweep.expand("toy", "smoke")
    made = stored(requests, Path(specfiles.__file__).parent.parent)
    runs = job.Runs(str(made.folder), [r.run_id for r in requests])
    with pytest.raises(Problem, match=r"failed: raises-.*ArithmeticError: no") as refused:
        runs()
    assert len(refused.value.messages) == 1
    found = {row["case"]: row["state"] for row in verbs.status("toy", "smoke")}
    assert found == {"good": "done", "bad": "failed"}
    bad = next(r.run_id for r in requests if r.case == "bad")
    assert "ArithmeticError" in (runs_dir() / bad / "traceback.txt").read_text()
    before = (runs_dir() / bad / "status.json").read_bytes()
    assert runs() == {"done": 0, "before": 1, "elsewhere": 0}  # put back into the queue, it leaves the failed run alone
    assert (runs_dir() / bad / "status.json").read_bytes() == before
    assert len(stored(requests, tmp_path).arrays) == 1
    again = stored(requests, Path(specfiles.__file__).parent.parent)
    with pytest.raises(Problem, match="ArithmeticError"):  # submitted anew, it is tried anew
        job.Runs(str(again.folder), [r.run_id for r in requests])()


def test_a_job_refuses_other_code_than_was_submitted(paper: Write, tmp_path: Path, handlers: None) -> None:
    paper("one", TOY)
    made = stored(sweep.expand("toy", "smoke"), tmp_path / "copy")
    with pytest.raises(Problem, match=r"was to run the code in .*copy, but found"):
        job.Runs(str(made.folder), [])()


def test_a_stored_run_that_the_code_reads_otherwise_is_refused(paper: Write, tmp_path: Path) -> None:
    paper("one", TOY)
    made = stored(sweep.expand("toy", "smoke"), tmp_path)
    path = made.folder / "runs.json"
    runs = json.loads(path.read_text())
    run_id = next(iter(runs))
    runs[run_id]["science"]["learner"]["version"] = "99"
    path.write_text(json.dumps(runs))
    with pytest.raises(Problem, match="not the code that was submitted"):
        submission.requests_of(made.folder, [run_id])


def test_a_process_names_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "job" not in this_process()
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert this_process()["job"] == "12"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "2")
    assert (this_process()["job"], this_process()["restart"]) == ("10_3", 2)


def test_the_environment_of_an_enclosing_job_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_CPU_BIND", "SBATCH_EXPORT", "SUBMITIT_FOLDER", "RANK", "SLURM_CONF", "SLURMX"):
        monkeypatch.setenv(name, "x")
    with scheduler.clean_environment():
        left = {n for n in os.environ if n.startswith(("SLURM", "SBATCH", "SUBMITIT", "RANK"))}
        assert left == {"SLURM_CONF", "SLURMX"}
    assert os.environ["SLURM_JOB_ID"] == "x"


def test_the_states_that_slurm_may_report_are_all_known() -> None:
    assert set(states.WAITING) <= set(scheduler.ALIVE)
