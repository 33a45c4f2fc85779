"""Specs of analyses: each finished run of another spec is analysed once, as a run of its own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common import analyse, checkpoint, loop, sweep, verbs
from common.cli import main
from common.errors import Problem
from common.places import results_dir, runs_dir
from common.record import RunFolder
from common.spec import RunSpec
from tests.helpers import SMALL

Write = Callable[..., Path]
TOY: dict[str, Any] = {
    "run": {**SMALL, "budget": {"iterations": 4, "batch": 8}},
    "tiers": {"smoke": {}},
    "seeds": "0-1",
}

OWN = '''
import torch

def sizes(trained, *, times: int = 1, other_data: "str | None" = None):
    """The norm of every weight."""
    torch.rand(1)
    for name, value in trained.weights().items():
        yield {"weight": name, "quantity": "norm", "value": times * float(value.norm())}
'''


@pytest.fixture
def own(paper: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A paper with runs (two cases) and a spec of analyses of them, by a module of one's own."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own_analyses.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    paper("base", {**TOY, "cases": {"plain": {}, "er": {"learner": {"name": "er", "memory": 21}}}})
    paper("sizes", {"of": "base", "run": {"analysis": {"name": "own_analyses.sizes"}}, "tiers": {"smoke": {}}})
    return tmp_path / "mine" / "own_analyses.py"


def test_an_analysis_is_a_run_with_the_analysed_one_as_its_parent(own: Path) -> None:
    requests = sweep.expand("toy/sizes", "smoke")
    base = {r.run_id: r for r in sweep.expand("toy/base", "smoke")}
    analyses = [r for r in requests if r.run.analysis]
    assert len(analyses) == len(base) == 4
    assert {r.run_id for r in requests if not r.run.analysis} == set(base)
    for request in analyses:
        (parent,) = request.parents
        assert request.run.parent == {"run": parent.run_id, "take": "all"}
        assert (request.case, request.run.seed) == (parent.case, parent.run.seed)
        assert request.run_id.startswith("sizes-digits-s")
        assert RunSpec.of(json.loads(json.dumps(request.run.science))) == request.run
    assert "analysis" not in next(iter(base.values())).run.science


def test_only_what_an_analysis_depends_on_is_in_its_identity(own: Path) -> None:
    def ids(**over: Any) -> dict[bool, set[str]]:
        found = sweep.expand("toy/sizes", "smoke", {k.replace("__", "."): v for k, v in over.items()})
        return {kind: {r.run_id for r in found if bool(r.run.analysis) == kind} for kind in (True, False)}

    plain = ids()
    other = ids(analysis__times=2)
    assert other[False] == plain[False]
    assert not other[True] & plain[True]
    longer = ids(budget__iterations=5)
    assert not longer[False] & plain[False]
    assert not longer[True] & plain[True]
    reading = ids(analysis__other_data="digits")
    (version,) = {
        r.run.analysis.version
        for r in sweep.expand("toy/sizes", "smoke", {"analysis.other_data": "digits"})
        if r.run.analysis
    }
    assert " digits=" in version
    assert not reading[True] & plain[True]


def test_from_the_command_line_to_the_tables(own: Path, forked: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "toy/sizes", "--workers", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["done"]) == 8
    tables = verbs.tables("toy", "smoke", store=True)
    runs = tables.runs
    analyses = runs[runs["spec"] == "sizes"]
    assert set(analyses["analysis.name"]) == {"own_analyses.sizes"}
    assert set(analyses["case"]) == {"plain", "er"}
    assert runs[runs["spec"] == "base"]["acc"].notna().all()
    facts = tables.facts
    assert set(facts["run_id"]) == set(analyses["run_id"])
    one = analyses.iloc[0]
    parent = sweep.expand("toy/sizes", "smoke", seeds=[int(one["seed"])], case=one["case"])[0].run_id
    norms = {name: float(t.norm()) for name, t in checkpoint.read_weights(runs_dir() / parent).items()}
    own_facts = facts[facts["run_id"] == one["run_id"]]
    assert dict(zip(own_facts["weight"], own_facts["value"], strict=True)) == pytest.approx(norms)
    before = {p: p.read_bytes() for p in (results_dir() / "toy" / "smoke").glob("*.*")}
    assert main(["run", "toy/sizes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == []
    assert {p: p.read_bytes() for p in before} == before
    rows = verbs.status("toy/sizes", "smoke")
    assert {(row["state"], row["updates"], row["total"]) for row in rows if row["run"].startswith("sizes")} == {
        ("done", 1, 1)
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"of": "bass"}, ("of is 'bass'", "Did you mean 'base'?")),
        ({"of": "base", "seeds": [1]}, ("takes seeds from the spec that it is of",)),
        ({"of": "base", "cases": {"a": {}}}, ("takes cases from",)),
        ({"of": "base", "run": {"learner": {"name": "er"}}}, ("'learner' is no setting of an analysis; it goes into base",)),
        ({"of": "base", "run": {"analysis": {"name": "own_analyses.sises"}}}, ("has no 'sises'", "Did you mean 'sizes'?")),
        ({"of": "base", "run": {"analysis": {"name": "own_analyses.sizes", "time": 2}}}, ("no setting 'time'", "'times'")),
        ({"of": "base", "run": {"analysis": {"name": "own_analyses.sizes", "other_data": "digit"}}}, ("digit", "digits")),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_spec_of_analyses(
    own: Path, paper: Write, content: dict[str, Any], words: tuple[str, ...]
) -> None:
    paper("wrong", {"run": {"analysis": {"name": "own_analyses.sizes"}}, "tiers": {"smoke": {}}, **content})
    with pytest.raises(Problem) as refused:
        sweep.expand("toy/wrong", "smoke")
    assert all(word in str(refused.value) for word in words), str(refused.value)


def test_a_parent_that_is_not_done_or_was_changed(own: Path) -> None:
    request = next(r for r in sweep.expand("toy/sizes", "smoke") if r.run.analysis)
    (parent,) = request.parents
    with pytest.raises(Problem, match="is not done, so there is nothing to analyse"):
        analyse.run(request.run)
    assert RunFolder(runs_dir() / request.run_id).status()["state"] == "failed"
    loop.run(parent.run)
    path = runs_dir() / parent.run_id / "spec.json"
    path.write_text(path.read_text().replace('"lr": 0.05', '"lr": 0.06'))
    with pytest.raises(Problem, match="gives another id"):
        analyse.run(request.run)


def test_one_that_is_stopped_begins_anew_and_gives_the_same(own: Path) -> None:
    request = next(r for r in sweep.expand("toy/sizes", "smoke") if r.run.analysis)
    loop.run(request.parents[0].run)
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 2

    with pytest.raises(loop.Stopped):
        analyse.run(request.run, loop.Place(stop=stop))
    folder = RunFolder(runs_dir() / request.run_id)
    assert folder.status()["state"] == "interrupted"
    assert not (folder.path / "facts.csv").exists()
    facts = analyse.run(request.run).facts()
    assert len(facts) == 4
    assert folder.status()["sittings"] == 2
    written = (folder.path / "facts.csv").stat().st_mtime_ns
    analyse.run(request.run)
    assert (folder.path / "facts.csv").stat().st_mtime_ns == written


def test_snapshots_that_were_not_kept_are_missed_in_plain_words(own: Path) -> None:
    request = next(r for r in sweep.expand("toy/sizes", "smoke") if r.run.analysis)
    loop.run(request.parents[0].run)
    found = analyse.trained(request.parents[0].run_id, "cpu")
    assert not found.net.training
    with pytest.raises(Problem, match=r"kept no weights after 3 updates"):
        found.weights(3)
