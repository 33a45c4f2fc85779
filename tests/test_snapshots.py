"""Weights kept along the way: where they were asked for, whatever interrupts the run, and moving nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common import checkpoint, loop
from common.errors import Problem
from common.loop import Place, Stopped
from common.places import runs_dir
from common.record import snapshots
from common.spec import RunSpec
from tests.helpers import same_weights, stored
from tests.test_resume import killed

WANTED = {"evaluation.snapshots": [0, 1, 2, 3, 7, 20, 5000]}
KEPT = [0, 1, 2, 3, 7, 12, 20, 24, 36]
BATCHNORM = {"model.name": "vgg", "model.depth": 11, "model.width": 4}


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "snapshots").iterdir()}


def test_the_identity_holds_snapshots_only_where_some_are_asked_for(small: Callable[..., RunSpec]) -> None:
    none, some = small("er"), small("er", WANTED)
    assert "snapshots" not in none.science["evaluation"]
    assert "evaluation.snapshots" not in none.flat()
    assert small("er", {"evaluation.snapshots": None}).run_id == none.run_id
    assert some.run_id != none.run_id
    assert small("er", {"evaluation.snapshots": [7, 20, 1, 2, 3, 3, 0, 5000]}).run_id == some.run_id
    assert small("er", {"evaluation.snapshots": []}).run_id not in (some.run_id, none.run_id)
    for spec in (none, some):
        assert RunSpec.of(spec.science) == spec
        assert RunSpec.of(spec.science).run_id == spec.run_id
    with pytest.raises(Problem, match=r"evaluation.snapshots is \[-1\]"):
        small("er", {"evaluation.snapshots": [-1]})
    with pytest.raises(Problem, match=r"evaluation.snapshots is 'often'"):
        small("er", {"evaluation.snapshots": "often"})


@pytest.mark.parametrize("learner", ["er", "gem"])
def test_keeping_weights_moves_nothing(learner: str, small: Callable[..., RunSpec]) -> None:
    plain, keeping = loop.run(small(learner, BATCHNORM)), loop.run(small(learner, BATCHNORM | WANTED))
    assert stored(plain.path)[0] == stored(keeping.path)[0]
    assert same_weights(stored(plain.path)[1], stored(keeping.path)[1])
    assert snapshots(keeping.path) == KEPT
    assert snapshots(plain.path) == []
    assert not (plain.path / "snapshots").exists()
    last, final = checkpoint.read_weights(keeping.path, 36), checkpoint.read_weights(keeping.path)
    assert all(torch.equal(last[name], final[name]) for name in final)
    assert "trunk.conv1.norm.running_mean" in last
    assert not torch.equal(last["head.weight"], checkpoint.read_weights(keeping.path, 0)["head.weight"])


def test_a_snapshot_is_what_a_run_of_that_length_ends_with(small: Callable[..., RunSpec]) -> None:
    one = {"stream.tasks": 1, "stream.classes_per_task": 4}
    long = loop.run(small("finetune", {**one, "evaluation.snapshots": [5]}))
    short = loop.run(small("finetune", {**one, "budget.iterations": 5}))
    five, final = checkpoint.read_weights(long.path, 5), checkpoint.read_weights(short.path)
    assert all(torch.equal(five[name], final[name]) for name in final)
    assert snapshots(loop.run(small("finetune", {**one, "evaluation.snapshots": []})).path) == [12]


def test_a_run_that_is_killed_again_and_again_has_all_of_them(
    small: Callable[..., RunSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small("er", BATCHNORM | WANTED)
    with monkeypatch.context() as patch:
        patch.setenv("REPLICATE_RUNS", str(tmp_path / "whole"))
        whole = kept(loop.run(spec).path)
    for at in (1, 7, 12, 21):
        killed(spec, at, save_every=5)
    left = iter(range(1000))
    with pytest.raises(Stopped):
        loop.run(spec, Place(stop=lambda: next(left) == 3))
    assert not [p for p in (runs_dir() / spec.run_id / "snapshots").iterdir() if p.suffix != ".pt"]
    assert kept(loop.run(spec).path) == whole


def test_weights_that_were_not_kept_or_are_damaged(small: Callable[..., RunSpec]) -> None:
    folder: Any = loop.run(small("finetune", WANTED)).path
    with pytest.raises(Problem, match=r"kept no weights after 4 updates; kept: 0, 1, 2, 3, 7"):
        checkpoint.read_weights(folder, 4)
    (folder / "snapshots" / "3.pt").write_bytes(b"half")
    with pytest.raises(Problem, match=r"snapshots/3.pt is damaged"):
        checkpoint.read_weights(folder, 3)
