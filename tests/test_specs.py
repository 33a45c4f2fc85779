"""Every spec of every paper: resolves, and at the smoke tier runs."""

import re
import shutil
from pathlib import Path

import pytest

from common import analyse, loop, specfiles, sweep, verbs, weights
from common.errors import Problem
from common.places import ROOT, runs_dir
from common.streams import data
from common.words import seed_list

ALL = sweep.targets("all")
NAMES = [f"{paper}/{spec}" for paper, spec in ALL]
TIERED = [
    (name, tier)
    for (paper, spec), name in zip(ALL, NAMES, strict=True)
    for tier in specfiles.load(paper, spec)["tiers"]
]
SMOKE = [name for name, tier in TIERED if tier == "smoke"]
SHORT = {"budget.iterations": 2, "budget.epochs": None, "evaluation.samples": 5}
LATER = re.compile(r"The (data set|weights) '[\w.]+' .*(is|are) not in |To get (it|them): |Nothing is selected by ")


def problems(name: str, tier: str) -> list[str]:
    """What stands against a spec at a tier."""
    try:
        assert sweep.expand(name, tier)
    except Problem as problem:
        return problem.messages
    return []


def test_there_are_specs_and_each_says_what_it_is_about() -> None:
    assert NAMES
    for paper, spec in ALL:
        content = specfiles.load(paper, spec)
        assert content["about"].endswith("."), f"{paper}/{spec}"
        assert content["tiers"], f"{paper}/{spec} has no tier"


@pytest.mark.parametrize("name", SMOKE)
def test_smoke_specs_need_nothing_and_their_runs_are_short(name: str) -> None:
    requests = sweep.expand(name, "smoke")
    assert requests
    assert len({r.run_id for r in requests}) == len(requests)
    assert all(r.run.data == "digits" or r.run.maker or r.run.collection for r in requests)  # made on the way
    plan = verbs.plan(name, "smoke")
    assert plan["updates"] < 1_000_000
    assert plan["missing"] == list(dict.fromkeys(r.run_id for r in requests))


@pytest.mark.parametrize(("name", "tier"), [t for t in TIERED if t[1] != "smoke"])
def test_specs_of_other_tiers_lack_nothing_but_data_and_selected_settings(
    name: str, tier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for message in problems(name, tier):
        assert LATER.search(message), message
    monkeypatch.setattr(data, "digest", lambda _: "as if it were here")
    monkeypatch.setattr(weights, "filled", lambda settings: settings)
    for message in problems(name, tier):
        assert "Nothing is selected by " in message


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where whole parent runs are kept for all tests of this file: they take seconds each."""
    return tmp_path_factory.mktemp("pretrained")


@pytest.mark.parametrize("name", SMOKE)
def test_each_case_of_each_smoke_spec_runs(name: str, pretrained: Path) -> None:
    collects = "collection" in specfiles.load(*name.split("/"))["run"]
    requests = sweep.expand(name, "smoke", {} if collects else SHORT, seeds=[0])
    if requests[0].run.stream.name == "recurring":  # its hundreds of tasks are alike
        requests = sweep.expand(name, "smoke", SHORT | {"stream.tasks": 6}, seeds=[0])
    first = {(r.spec, r.case): r for r in reversed(requests)}
    for request in sorted(first.values(), key=requests.index):  # parents first
        carry_out = analyse.run if request.run.finding else loop.run
        if f"{request.paper}/{request.spec}" != name:
            kept = pretrained / request.run_id  # a parent, which no override makes short
            if not kept.exists():
                shutil.copytree(carry_out(request.run).path, kept)
            shutil.copytree(kept, runs_dir() / request.run_id, dirs_exist_ok=True)
            continue
        folder = carry_out(request.run)
        status = folder.status()
        assert status["state"] == "done"
        if request.run.finding:
            assert len(folder.facts())
            continue
        assert status["updates"] == verbs.estimate.updates(request.run) == 2 * len(folder.trace()["ends"])


def test_each_seed_that_selects_is_no_seed_that_reports() -> None:
    for paper in specfiles.papers():
        for tier in specfiles.TIERS:
            seeds: dict[bool, set[int]] = {True: set(), False: set()}
            for spec in specfiles.specs(paper):
                content = specfiles.load(paper, spec)
                if tier in content["tiers"]:
                    part = content["tiers"][tier]
                    where = specfiles.merge(specfiles.nested(content["run"]), specfiles.nested(part.get("run", {})))
                    selecting = where.get("stream", {}).get("evaluate_on") == "validation"
                    seeds[selecting] |= set(seed_list(part.get("seeds", content["seeds"])))
            assert not seeds[True] & seeds[False], (paper, tier)


@pytest.mark.parametrize("path", sorted((ROOT / "papers").glob("*/specs/*.yaml")), ids=lambda p: p.stem)
def test_spec_files_are_short(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 45


@pytest.mark.parametrize("path", sorted((ROOT / "papers").glob("*/selected/*.yaml")), ids=lambda p: p.stem)
def test_what_was_selected_is_the_best_of_the_stored_runs(path):
    """papers/<paper>/selected/<tier>.yaml is what the runs in results/ say, not what a hand wrote."""
    import pandas as pd
    import yaml

    runs = pd.read_csv(ROOT / "results" / path.parent.parent.name / path.stem / "runs.csv", low_memory=False)
    for spec, cases in yaml.safe_load(path.read_text()).items():
        for case, settings in cases.items():
            rows = runs[(runs["spec"] == spec) & (runs["case"] == case)]
            assert (rows["stream.evaluate_on"] == "validation").all()
            mean = rows.groupby(list(settings))["acc"].mean()
            best = mean.idxmax() if len(settings) > 1 else (mean.idxmax(),)
            assert dict(zip(settings, best, strict=True)) == pytest.approx(settings)
