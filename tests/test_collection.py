"""Runs that make data: their identity, what takes their data, and what becomes of them when they are stopped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common import analyse, loop, sweep, verbs
from common.cli import main
from common.errors import Problem
from common.products import product
from common.record import RunFolder
from common.spec import RunSpec
from tests.helpers import SMALL

Write = Callable[..., Path]
OWN = '''
from dataclasses import replace
from pathlib import Path

import numpy as np

from common.files import write_atomic
from common.streams import data
from common.streams.builders import split


def make(making, *, count: int = 3, empty: bool = False):
    """A file a number, as far as it is not there."""
    for k in range(count):
        path = making.folder / f"{k}.txt"
        if not path.exists():
            write_atomic(path, str(making.seed + k))
        yield {"number": k, "value": float(path.read_text())}


def shown(folder: Path, seed: int, *, tasks: int = 2):
    """A stream that is there before its data are; it looks into the folder when it is digested."""
    images = data.load("digits")
    made = split(images, seed, tasks=tasks, classes_per_task=2)
    found = sorted(path.name for path in folder.glob("*.txt"))
    return replace(made, images=replace(images, digest=" ".join(found)))
'''


@pytest.fixture
def own(paper: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A paper with a collection and a spec that learns from its data."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own_making.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    paper("numbers", {"run": {"collection": {"name": "own_making.make"}}, "tiers": {"smoke": {}}, "seeds": "0-1"})
    run = SMALL | {"data": {"spec": "toy/numbers", "seed": 1}, "stream": {"name": "own_making.shown"}}
    paper("learns", {"run": run | {"budget": {"iterations": 3, "batch": 8}}, "tiers": {"smoke": {}}, "seeds": "0-1"})


def test_the_maker_is_a_parent_and_its_run_id_the_digest_of_the_data(own: None) -> None:
    requests = sweep.expand("toy/learns", "smoke")
    (maker,) = [r for r in requests if r.run.collection]
    learning = [r for r in requests if not r.run.collection]
    assert requests[0] is maker
    assert maker.run_id.startswith("make-numbers-s1-")
    assert set(maker.run.science) == {"data", "data_digest", "seed", "precision", "parent", "loop", "collection"}
    for request in learning:
        assert request.parents == (maker,)
        assert (request.run.data, request.run.maker) == ("numbers", maker.run_id)
        assert request.run.parent is None
    for request in requests:
        assert RunSpec.of(json.loads(json.dumps(request.run.science))) == request.run
    assert verbs.plan("toy", "smoke")["runs"] == 4  # two seeds of each; nothing is made for that


def test_from_the_command_line_to_the_tables(own: None, forked: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "toy", "--workers", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["done"]) == 4
    tables = verbs.tables("toy", "smoke", store=True)
    made = tables.runs[tables.runs["spec"] == "numbers"]
    assert list(made["collection.count"]) == [3, 3]
    assert made["learner.name"].isna().all()
    assert set(tables.facts["number"]) == {0, 1, 2}
    learned = tables.runs[tables.runs["spec"] == "learns"]
    assert set(learned["data_title"]) == {"numbers"}
    folder = RunFolder(product(made["run_id"].iloc[0]).parent)
    assert "0.txt 1.txt 2.txt" not in json.dumps(folder.spec())
    (stream,) = {
        RunFolder(product(i).parent).provenance()["stream"]["digest"] for i in learned[learned["seed"] == 0]["run_id"]
    }
    assert stream


def test_a_stopped_collection_goes_on_from_what_is_whole(own: None) -> None:
    spec = sweep.expand("toy/numbers", "smoke")[0].run
    with pytest.raises(loop.Stopped):
        analyse.run(spec, loop.Place(stop=lambda: True))
    first = product(spec.run_id) / "0.txt"
    first.write_text("70")  # kept, so it shows in the facts
    assert [path.name for path in sorted(product(spec.run_id).iterdir())] == ["0.txt"]
    folder = analyse.run(spec)
    assert list(folder.facts()["value"]) == [70, 1, 2]
    assert folder.done()


@pytest.mark.parametrize(
    ("over", "told"),
    [
        ({"data": {"spec": "toy/base"}}, "collects no data"),
        ({"data": {"spek": "toy/numbers"}}, "must be the name of a data set, or a mapping with spec"),
        ({"data": {"spec": "toy/learns"}}, "makes toy/learns its own parent"),
    ],
)
def test_what_makes_no_data_is_refused(own: None, paper: Write, over: dict[str, Any], told: str) -> None:
    paper("base", {"run": SMALL, "tiers": {"smoke": {}}})
    paper("learns", {"run": SMALL | over, "tiers": {"smoke": {}}})
    with pytest.raises(Problem, match=told):
        sweep.expand("toy/learns", "smoke")


def test_a_collection_has_nothing_of_a_run_that_trains(own: None, paper: Write) -> None:
    paper("numbers", {"run": {"collection": {"name": "own_making.make", "cuont": 1}, **SMALL}, "tiers": {"smoke": {}}})
    with pytest.raises(Problem) as refused:
        sweep.expand("toy/numbers", "smoke")
    said = " ".join(refused.value.messages)
    assert "'learner' is no part of a run that collects data" in said
    assert "Did you mean 'count'?" in said


def test_overrides_of_training_leave_the_collections_of_a_paper_alone(own: None) -> None:
    plain = {r.run_id for r in sweep.expand("toy", "smoke") if r.run.collection}
    changed = sweep.expand("toy", "smoke", {"budget.iterations": 4})
    assert {r.run_id for r in changed if r.run.collection} == plain
    with pytest.raises(Problem, match="no part of a run that collects data"):
        sweep.expand("toy/numbers", "smoke", {"budget.iterations": 4})
