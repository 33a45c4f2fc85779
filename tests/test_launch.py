"""The local pool: each run's failure is its own, parents come first, what is missing runs and nothing else."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common import estimate, launch, sweep, verbs
from common.cli import main
from common.launch import run_local
from common.outcome import Outcome, Settings
from common.places import ROOT, runs_dir
from common.record import RunFolder
from tests.helpers import SMALL, stored

Write = Callable[..., Path]
TOY: dict[str, Any] = {"run": {**SMALL, "budget": {"iterations": 4, "batch": 8}}, "tiers": {"smoke": {}}}

OWN = '''
import gc
import os
import signal
import time
from pathlib import Path

from common.learners.base import Learner

VERSION = 1


class Killed(Learner):
    """Is killed at its third update, unless a file says that it may live."""

    def update(self, batch):
        self.state["count"] = self.state.get("count", 0) + 1
        if self.state["count"] == 3 and not Path(os.environ["MAY_LIVE"]).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().update(batch)


class Raises(Learner):
    """Raises at its third update, unless a file says that it may live."""

    def update(self, batch):
        self.state["count"] = self.state.get("count", 0) + 1
        if self.state["count"] == 3 and not Path(os.environ["MAY_LIVE"]).exists():
            raise ArithmeticError("the loss went away")
        return super().update(batch)


class Lonely(Learner):
    """Raises where the learner of an earlier run is still in memory."""

    def begin(self, task):
        if sum(type(one) is Lonely for one in gc.get_objects()) > 1:  # isinstance would follow a dead proxy
            raise MemoryError("I am not alone")
        super().begin(task)


class Slow(Learner):
    """Takes its time, unless a file says that it may live."""

    def update(self, batch):
        if not Path(os.environ["MAY_LIVE"]).exists():
            time.sleep(0.05)
        return super().update(batch)


class Forgets(Slow):
    """Counts where no checkpoint looks."""

    count = 0

    def update(self, batch):
        self.count += 1
        return super().update(batch)
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of learners outside the project, and the file that lets them live."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own_learners.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    monkeypatch.setenv("MAY_LIVE", str(tmp_path / "may-live"))
    return tmp_path / "may-live"


def expanded(target: str = "toy", **more: Any) -> list[sweep.Request]:
    return sweep.expand(target, "smoke", **more)


def launched(requests: list[sweep.Request], workers: int = 2) -> Outcome:
    updates = {r.run_id: estimate.updates(r.run) for r in requests}
    return run_local(requests, Settings(workers=workers, device="cpu"), updates, quiet=True)


def by_case(requests: list[sweep.Request]) -> dict[str, str]:
    return {r.case: r.run_id for r in requests}


def test_a_worker_keeps_nothing_of_a_run_that_is_over(paper: Write, own: Path, forked: None) -> None:
    paper("three", {**TOY, "cases": {"one": {"learner": {"name": "own_learners.Lonely"}}}, "seeds": "0-2"})
    outcome = launched(expanded(), workers=1)
    assert (len(outcome.done), outcome.failed) == (3, {})


def test_a_worker_that_dies_and_a_learner_that_raises_fail_alone(
    paper: Write, own: Path, forked: None, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = {
        "killed": {"learner": {"name": "own_learners.Killed"}},
        "fine": {},
        "raises": {"learner": {"name": "own_learners.Raises"}},
        "er": {"learner": {"name": "er", "memory": 20}},
    }
    paper("many", {**TOY, "cases": cases})
    ids = by_case(expanded())
    assert main(["run", "toy", "--workers", "1", "--json"]) == 1
    out, err = capsys.readouterr()
    assert out, err
    said = json.loads(out)
    assert sorted(said["done"]) == sorted([ids["fine"], ids["er"]])
    assert sorted(said["failed"]) == sorted([ids["killed"], ids["raises"]])
    assert "code -9" in said["failed"][ids["killed"]]
    assert "same command" in said["failed"][ids["killed"]]
    assert "ArithmeticError: the loss went away" in said["failed"][ids["raises"]]
    trace = runs_dir() / ids["raises"] / "traceback.txt"
    assert str(trace) in said["failed"][ids["raises"]]
    assert 'raise ArithmeticError("the loss went away")' in trace.read_text()
    states = {r["case"]: r["state"] for r in verbs.status("toy", "smoke")}
    assert states == {"killed": "interrupted", "fine": "done", "raises": "failed", "er": "done"}

    own.touch()  # what was wrong is mended: the same command makes what is missing
    before = {c: (runs_dir() / ids[c] / "trace.npz").stat().st_mtime_ns for c in ("fine", "er")}
    assert main(["run", "toy", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert sorted(said["done"]) == sorted([ids["killed"], ids["raises"]])
    assert sorted(said["before"]) == sorted([ids["fine"], ids["er"]])
    assert before == {c: (runs_dir() / ids[c] / "trace.npz").stat().st_mtime_ns for c in ("fine", "er")}


def test_runs_of_the_pool_equal_runs_alone(paper: Write, forked: None, tmp_path: Path, monkeypatch: Any) -> None:
    from common import loop

    paper("two", {**TOY, "seeds": "0-2"})
    requests = expanded()
    assert sorted(launched(requests).done) == sorted(r.run_id for r in requests)
    pooled = [stored(runs_dir() / r.run_id) for r in requests]
    monkeypatch.setenv("REPLICATE_RUNS", str(tmp_path / "alone"))
    for request, (trace, weights) in zip(requests, pooled, strict=True):
        again, others = stored(loop.run(request.run).path)
        assert again == trace
        assert all(np.array_equal(weights[n], others[n]) for n in weights)


def test_a_request_named_twice_runs_once(paper: Write, forked: None) -> None:
    paper("one", TOY)
    paper("same", TOY)
    requests = expanded()
    assert len(requests) == 2
    assert len({r.run_id for r in requests}) == 1
    assert len(launched(requests).done) == 1
    assert launched(requests).before == [requests[0].run_id]


def test_a_run_that_diverged_is_told_of_by_run_and_status(
    paper: Write, forked: None, capsys: pytest.CaptureFixture[str]
) -> None:
    paper("two", {**TOY, "cases": {"fine": {}, "wild": {"optimiser.lr": 1e6, "model.hidden": [12, 12]}}})
    ids = by_case(expanded())
    assert main(["run", "toy", "--workers", "1"]) == 0
    assert f"loss not finite from update 4 on: {ids['wild']}" in capsys.readouterr().out
    assert main(["run", "toy"]) == 0  # nothing is to be done, and it is said again
    said = capsys.readouterr().out
    assert said.count("loss not finite") == 1
    assert main(["status", "toy"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "loss not finite from update 4 on" in line and ids["wild"] in line]
    assert sum("loss not finite" in line for line in lines) == 1
    assert {row["case"]: row["not_finite_from"] for row in verbs.status("toy")} == {"fine": None, "wild": 4}


# --- parents -----------------------------------------------------------------------------------------------


def family(paper: Write, learner: str = "finetune", take: str = "all") -> None:
    paper("aparent", {**TOY, "cases": {"P": {"learner": {"name": learner}}, "Q": {}}, "seeds": "0-1"})
    mother = {"spec": "toy/aparent", "case": "P", "take": take}
    # the child's name comes first in the alphabet: order is by need, not by name
    paper("a_child", {**TOY, "run": {**TOY["run"], "parent": mother}})
    paper("a_grandchild", {**TOY, "run": {**TOY["run"], "parent": {"spec": "toy/a_child"}}})


def test_parents_are_planned_and_run_first_and_their_weights_inherited(paper: Write, forked: None) -> None:
    family(paper)
    requests = expanded("toy/a_grandchild")
    assert [(r.spec, r.case) for r in requests] == [("aparent", "P"), ("a_child", ""), ("a_grandchild", "")]
    mother, child, grandchild = (r.run_id for r in requests)
    assert verbs.plan("toy/a_grandchild")["missing"] == [mother, child, grandchild]
    outcome = launched(requests, workers=3)
    assert outcome.done == [mother, child, grandchild]
    assert RunFolder(runs_dir() / child).spec()["parent"] == {"run": mother, "take": "all"}


def test_a_childs_id_depends_on_its_parents(paper: Write) -> None:
    family(paper)
    ids = [r.run_id for r in expanded("toy/a_grandchild")]
    family(paper, learner="er")  # needs memory: give it
    paper("aparent", {**TOY, "cases": {"P": {"learner": {"name": "er", "memory": 20}}, "Q": {}}, "seeds": "0-1"})
    others = [r.run_id for r in expanded("toy/a_grandchild")]
    assert not set(ids) & set(others)
    family(paper, take="trunk")
    assert expanded("toy/a_grandchild")[0].run_id == ids[0]
    assert not {r.run_id for r in expanded("toy/a_grandchild")[1:]} & set(ids)


def test_a_parent_has_the_childs_seed_unless_another_is_named(paper: Write) -> None:
    family(paper)
    mother, child, _ = expanded("toy/a_grandchild", seeds=[1])
    assert (mother.run.seed, child.run.seed) == (1, 1)
    mother, child, _ = expanded("toy/a_grandchild", seeds=[1])
    (mother, child) = expanded("toy/a_child", seeds=[1], overrides={"parent.seed": 0})
    assert (mother.run.seed, child.run.seed) == (0, 1)


@pytest.mark.parametrize("learner", ["own_learners.Killed", "own_learners.Raises"])
def test_children_of_a_failed_parent_fail_with_it_and_run_once_it_is_mended(
    learner: str, paper: Write, own: Path, forked: None
) -> None:
    family(paper, learner)
    requests = expanded("toy")
    ids = {(r.spec, r.case, r.run.seed): r.run_id for r in requests}
    outcome = launched(requests)
    failed = {ids["aparent", "P", 0], ids["aparent", "P", 1], ids["a_child", "", 0], ids["a_grandchild", "", 0]}
    assert set(outcome.failed) == failed
    for spec in ("a_child", "a_grandchild"):
        assert "its parent" in outcome.failed[ids[spec, "", 0]]
        assert not (runs_dir() / ids[spec, "", 0]).exists()  # it was not even begun
    assert set(outcome.done) == {ids["aparent", "Q", 0], ids["aparent", "Q", 1]}
    own.touch()
    assert set(launched(requests).done) == failed


# --- stopping, and real processes ----------------------------------------------------------------------------


def test_stopped_by_the_user_saves_and_goes_on(paper: Write, own: Path, forked: None) -> None:
    slow = {**TOY["run"], "learner": {"name": "own_learners.Slow"}, "budget": {"iterations": 100, "batch": 8}}
    paper("slow", {**TOY, "run": slow, "seeds": "0-1"})
    requests = expanded()

    def interrupt() -> None:
        folders = [RunFolder(runs_dir() / r.run_id) for r in requests]
        while not all((f.path / "provenance.json").exists() for f in folders):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    outcome = launched(requests)
    thread.join()
    assert outcome.stopped
    assert not outcome.failed
    for request in requests:
        status = RunFolder(runs_dir() / request.run_id).status()
        assert status["state"] == "interrupted"
        assert (runs_dir() / request.run_id / "checkpoint.pt").exists()
        assert not (runs_dir() / request.run_id / "lock").exists()
        assert 0 < status["updates"] < 300
    own.touch()
    assert len(launched(requests).done) == 2


def test_a_run_that_fails_while_it_is_asked_to_stop_is_told_as_failed(
    paper: Write, own: Path, forked: None, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = {**TOY["run"], "learner": {"name": "own_learners.Forgets"}, "budget": {"iterations": 100, "batch": 8}}
    paper("slow", {**TOY, "run": slow, "cases": {"forgets": {}, "fine": {"learner": {"name": "own_learners.Slow"}}}})
    ids = by_case(expanded())

    def interrupt() -> None:
        while not all(RunFolder(runs_dir() / run_id).status()["updates"] for run_id in ids.values()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    assert main(["run", "toy", "--workers", "2"]) == 130
    thread.join()
    said = capsys.readouterr().out
    assert "0 runs done, 0 were done before, 1 failed" in said
    assert f"failed {ids['forgets']}: Forgets changes count while it learns" in said
    assert "stopped; the same command goes on where it was, and tries again what failed" in said
    states = {row["case"]: row["state"] for row in verbs.status("toy", "smoke")}
    assert states == {"forgets": "failed", "fine": "interrupted"}


def test_spawned_workers_find_a_learner_of_ones_own(own: Path, tmp_path: Path) -> None:
    """The command itself, with real workers: PYTHONPATH reaches them, a failure ends in exit code 1."""
    words = ["run", "stability_gap/rotation", "--tier", "smoke", "--seeds", "0", "--workers", "1"]
    short = ["stream.degrees=80", "budget.iterations=3", "evaluation.samples=5", "learner.name=own_learners.Raises"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{own.parent / 'mine'}"}
    done = subprocess.run(
        [sys.executable, "-m", "common.cli", *words, *short],
        env=environment, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "ArithmeticError: the loss went away" in done.stdout
    assert "0 runs done, 0 were done before, 1 failed" in done.stdout
    (trace,) = runs_dir().glob("raises-digits-s0-*/traceback.txt")
    assert "own_learners.py" in trace.read_text()


def test_cores_are_those_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7}, raising=False)
    assert launch.cores() == 3


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_launch_that_is_ended_leaves_no_worker_behind_and_loses_nothing(how: signal.Signals, tmp_path: Path) -> None:
    """SIGTERM as a scheduler sends it, SIGKILL as a closed laptop does: the worker saves and leaves by itself."""
    words = [sys.executable, "-m", "common.cli", "run", "stability_gap/er", "--seeds", "0", "budget.iterations=1000000"]
    environment = {**os.environ, "REPLICATE_RUNS": str(tmp_path / "r"), "REPLICATE_RESULTS": str(tmp_path / "o")}
    launch_ = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def status() -> dict[str, Any]:
        paths = list((tmp_path / "r").glob("*/status.json"))
        return json.loads(paths[0].read_text()) if paths else {}

    def wait_for(what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not what():
            assert time.monotonic() < deadline, status()
            time.sleep(0.1)

    wait_for(lambda: status().get("updates", 0) > 0)
    os.kill(launch_.pid, how)
    out, err = launch_.communicate()
    wait_for(lambda: status()["state"] == "interrupted")
    (checkpoint,) = (tmp_path / "r").glob("*/checkpoint.pt")
    assert checkpoint.stat().st_size > 0
    wait_for(lambda: not Path(f"/proc/{status()['pid']}").exists())
    if how == signal.SIGTERM:
        assert launch_.returncode == 130
        assert b"goes on where it was" in out + err
        assert b"Traceback" not in err


@pytest.mark.parametrize(
    ("allowed", "listed", "found"),
    [("2,3", "", ["2", "3"]), ("", "GPU 0: a\n", []), ("-1", "GPU 0: a\n", []), (None, "GPU 0: a\nGPU 1: b\n", ["0", "1"]),
     (None, "", [])],
)  # fmt: skip
def test_gpus_that_this_process_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, allowed: str | None, listed: str, found: list[str]
) -> None:
    from common import gpus

    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{listed}'\n".replace("\n'", "\\n'"))
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert gpus.visible() == found
