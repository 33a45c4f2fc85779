"""Interrupted equals uninterrupted: processes that are really killed, at any step, leave the same bytes behind."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common import checkpoint, loop
from common.loop import Place, Stopped
from common.places import runs_dir
from common.record import RunFolder
from common.spec import RunSpec
from tests.helpers import LEARNERS, same, stored
from tests.helpers import killed as kill_after

UPDATES = 36  # three tasks of twelve updates
BATCHNORM = {"model.name": "small_cnn", "model.width": 4, "model.norm": "batch"}
ADAM = {"optimiser.name": "adam", "optimiser.lr": 0.01}


def killed(spec: RunSpec, at: int, **place: Any) -> None:
    """Carries the run out until it is killed after update `at`."""
    kill_after(lambda watch: loop.run(spec, Place(watch=watch, **{"save_every": 7, **place})), at)


def uninterrupted(spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, dict[str, Any]]:
    """What the run leaves behind when nothing stops it (in a runs folder of its own)."""
    with monkeypatch.context() as patch:
        patch.setenv("REPLICATE_RUNS", str(tmp_path / "whole"))
        return stored(loop.run(spec).path)


@pytest.mark.parametrize("learner", LEARNERS)
def test_killed_and_resumed_equals_uninterrupted(
    learner: str, small: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small(learner, {"evaluation.gradients": True})
    whole = uninterrupted(spec, tmp_path, monkeypatch)
    # before the first checkpoint, in the first task, right after a switch, in the last task
    for at in np.random.default_rng(len(learner)).permutation([3, 9, 13, 30])[:2]:
        with monkeypatch.context() as patch:
            patch.setenv("REPLICATE_RUNS", str(tmp_path / f"killed{at}"))
            killed(spec, int(at))
            assert RunFolder(runs_dir() / spec.run_id).status()["state"] == "interrupted"
            assert same(stored(loop.run(spec).path), whole)


@pytest.mark.slow
@pytest.mark.parametrize("over", [{}, ADAM, BATCHNORM], ids=["mlp", "adam", "batchnorm"])
@pytest.mark.parametrize("learner", LEARNERS)
def test_killed_at_twenty_random_steps(
    learner: str, over: dict[str, Any], small: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small(learner, over)
    whole = uninterrupted(spec, tmp_path, monkeypatch)
    rng = np.random.default_rng(20)
    for n in range(20):
        with monkeypatch.context() as patch:
            patch.setenv("REPLICATE_RUNS", str(tmp_path / f"killed{n}"))
            killed(spec, int(rng.integers(1, UPDATES)), save_every=int(rng.integers(1, 14)))
            assert same(stored(loop.run(spec).path), whole)


@pytest.mark.parametrize(
    ("learner", "over", "kills", "every"),
    [
        ("er", {}, [12], 12),  # saved and killed between two tasks: `end` was not called yet
        ("si", {}, [24], 12),
        ("gem", {}, [13], 12),  # the next task has begun, its first update is lost
        ("lwf", BATCHNORM, [20], 5),  # running statistics, and the teacher's
        ("er", BATCHNORM | ADAM, [20], 5),
        ("ewc", ADAM | {"optimiser.fresh": False}, [17, 29], 4),  # two kills in a row; optimiser state goes on
        ("agem", {}, [16, 17, 18], 1),
        ("er", {"budget.iterations": None, "budget.epochs": 1, "stream.train_per_task": 50}, [9], 4),
        ("er", {"stream.scenario": "task", "model.heads": "multi"}, [20], 6),
        ("ewc", {"precision": "bf16-mixed"}, [20], 6),
        ("gem", {"precision": "bf16-mixed"}, [20], 6),
        ("er", {"stream.name": "rotated", "stream.degrees": 30, "stream.train_per_task": 40}, [20], 6),
    ],
    ids=[
        "between",
        "between-si",
        "after",
        "bn-lwf",
        "bn-er-adam",
        "two",
        "three",
        "epochs",
        "heads",
        "bf16-ewc",
        "bf16-gem",
        "rotated",
    ],
)
def test_hard_places_to_be_killed(
    learner: str,
    over: dict[str, Any],
    kills: list[int],
    every: int,
    small: Callable[..., RunSpec],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "stream.name" in over:
        over = {**over, "stream.tasks": 3}
    spec = small(learner, over)
    whole = uninterrupted(spec, tmp_path, monkeypatch)
    for at in kills:
        killed(spec, at, save_every=every)
    assert same(stored(loop.run(spec).path), whole)


def test_dropout_goes_on_where_it_was(
    small: Callable[..., RunSpec], dropout: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small("er", dropout)
    whole = uninterrupted(spec, tmp_path, monkeypatch)
    for at in (8, 17):
        killed(spec, at)
    torch.manual_seed(99)  # the process that resumes has drawn other numbers before
    assert same(stored(loop.run(spec).path), whole)


def test_killed_while_the_checkpoint_is_written_keeps_the_one_before(
    small: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small("er")
    whole = uninterrupted(spec, tmp_path, monkeypatch)
    child = os.fork()
    if not child:
        replace, calls = os.replace, []

        def kill(source: str, target: Path) -> None:
            if str(target).endswith("checkpoint.pt"):
                calls.append(target)
                if len(calls) == 3:  # the file is written in full, but not yet in its place
                    os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)

        os.replace = kill  # type: ignore[assignment]
        loop.run(spec, Place(save_every=5))
        os._exit(0)
    os.waitpid(child, 0)
    state = checkpoint.read(runs_dir() / spec.run_id)
    assert state is not None
    assert state["cursor"] == [0, 10, 10]
    assert same(stored(loop.run(spec).path), whole)


def test_stop_flag_saves_and_leaves(
    small: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small("si")
    whole = uninterrupted(spec, tmp_path, monkeypatch)
    updates = iter(range(1, 1000))
    with pytest.raises(Stopped):
        loop.run(spec, Place(stop=lambda: next(updates) == 17))
    folder = RunFolder(runs_dir() / spec.run_id)
    status = folder.status()
    assert (status["state"], status["updates"], status["total"]) == ("interrupted", 17, UPDATES)
    assert not (folder.path / "lock").exists()
    seen: list[int] = []
    finished = loop.run(spec, Place(watch=lambda done, total: seen.append(done)))
    assert seen == list(range(18, UPDATES + 1))  # not one update twice, not one left out
    assert same(stored(finished.path), whole)
    assert not (folder.path / "checkpoint.pt").exists()


def test_interrupted_in_a_notebook(small: Callable[..., RunSpec]) -> None:
    def interrupt(updates: int, total: int) -> None:
        if updates == 10:
            raise KeyboardInterrupt

    spec = small("er")
    with pytest.raises(KeyboardInterrupt):
        loop.run(spec, Place(watch=interrupt))
    assert RunFolder(runs_dir() / spec.run_id).status()["state"] == "interrupted"
    assert loop.run(spec).done()


def test_a_finished_run_is_not_made_again(small: Callable[..., RunSpec]) -> None:
    spec = small("er")
    folder = loop.run(spec)
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.path.iterdir()}
    assert loop.run(spec, Place(watch=lambda done, total: pytest.fail("it ran again"))).path == folder.path
    assert before == {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.path.iterdir()}


def test_a_run_that_another_process_finished_meanwhile_is_not_made_again(
    small: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, held = small("er"), loop.lock.held

    @contextlib.contextmanager
    def late(folder: Path) -> Iterator[None]:
        monkeypatch.setattr(loop.lock, "held", held)
        loop.run(spec)
        with held(folder):
            yield

    monkeypatch.setattr(loop.lock, "held", late)
    assert loop.run(spec, Place(watch=lambda done, total: pytest.fail("it ran again"))).done()


def test_time_spent_adds_up_over_interruptions(small: Callable[..., RunSpec]) -> None:
    spec = small("er")
    asked = iter(range(1000))
    with pytest.raises(Stopped):
        loop.run(spec, Place(stop=lambda: next(asked) == 5, watch=lambda done, total: time.sleep(0.01)))
    first = RunFolder(runs_dir() / spec.run_id).status()["seconds"]
    assert loop.run(spec).status()["seconds"] > first > 0.05
