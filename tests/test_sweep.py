"""From spec files to runs: what wins over what, grids, cases, seeds, overrides."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from common import selected, specfiles, sweep, verbs
from common.errors import Problem
from common.words import parse_overrides, seed_list
from tests.helpers import SMALL

Write = Callable[..., Path]
TOY: dict[str, Any] = {"run": SMALL, "tiers": {"smoke": {}}}
keys = st.text("abc", min_size=1, max_size=2)
trees: Any = st.recursive(st.integers(0, 9), lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=6)


@given(st.dictionaries(keys, trees, max_size=3), st.dictionaries(keys, trees, max_size=3))
def test_merge_keeps_what_is_not_named_and_takes_what_is(base: dict[str, Any], over: dict[str, Any]) -> None:
    merged = specfiles.merge(base, over)
    assert merged.keys() == base.keys() | over.keys()
    for key in merged:
        if key not in over:
            assert merged[key] == base[key]
        elif isinstance(over[key], dict) and isinstance(base.get(key), dict):
            assert merged[key] == specfiles.merge(base[key], over[key])
        else:
            assert merged[key] == over[key]
    assert specfiles.merge(base, {}) == base
    assert specfiles.merge(base, base) == base


def test_another_name_replaces_a_part_the_same_name_is_merged() -> None:
    base = {"learner": {"name": "er", "memory": 9}}
    assert specfiles.merge(base, {"learner": {"name": "finetune"}}) == {"learner": {"name": "finetune"}}
    assert specfiles.merge(base, {"learner": {"name": "er", "alpha": 1}})["learner"] == {
        "name": "er",
        "memory": 9,
        "alpha": 1,
    }
    assert specfiles.merge(base, {"learner": {"memory": 3}})["learner"] == {"name": "er", "memory": 3}


def test_nested() -> None:
    assert specfiles.nested({"a.b": 1, "a.c": {"d.e": 2}, "f": 3}) == {"a": {"b": 1, "c": {"d": {"e": 2}}}, "f": 3}


@pytest.mark.parametrize(
    ("given_", "seeds"),
    [("0-4", [0, 1, 2, 3, 4]), ("0,1,5", [0, 1, 5]), ("0-1,4", [0, 1, 4]), ([2, 3], [2, 3]), (["0-1", 7], [0, 1, 7]), (3, [3]),
     ("7", [7])],
)  # fmt: skip
def test_seed_lists(given_: Any, seeds: list[int]) -> None:
    assert seed_list(given_) == seeds


@pytest.mark.parametrize("given_", ["", "a", "1-", "-1", "4-2", [], None, {}, [None], "1;2", 1.5, "0-999999999"])
def test_seeds_that_are_none(given_: Any) -> None:
    with pytest.raises(Problem, match="seeds are"):
        seed_list(given_)


def test_overrides_are_read_as_yaml() -> None:
    words = ["learner.alpha=0.3", "model.hidden=[1, 2]", "budget.epochs=null", "optimiser.lr=1e-3", "data=a=b", "seed=7",
             "optimiser.fresh=false", "optimiser.betas=[1e-1,.5E-2]"]  # fmt: skip
    assert parse_overrides(words) == {
        "learner.alpha": 0.3, "model.hidden": [1, 2], "budget.epochs": None, "optimiser.lr": 0.001, "data": "a=b",
        "seed": 7, "optimiser.fresh": False, "optimiser.betas": [0.1, 0.005],
    }  # fmt: skip


def test_later_wins(paper: Write) -> None:
    """run, the tier's run, the case, the tier's case, what was selected, the grid point, the command line."""
    layers: list[dict[str, Any]] = [
        {"run": {"optimiser.lr": 0.1}},
        {"tiers": {"smoke": {"run": {"optimiser.lr": 0.2}}}},
        {"cases": {"A": {"optimiser.lr": 0.3}}},
        {"tiers": {"smoke": {"cases": {"A": {"optimiser.lr": 0.4}}}}},
        {"selected": "chosen"},
        {"grid": {"optimiser.lr": [0.6]}},
    ]
    base: dict[str, Any] = {"run": {**SMALL}, "tiers": {"smoke": {}}, "cases": {"A": {}}}
    chosen = selected.path_of("toy", "smoke")
    chosen.parent.mkdir(parents=True)
    chosen.write_text("chosen: {A: {optimiser.lr: 0.5}}\n")
    for count in range(1, len(layers) + 1):
        content = base
        for layer in layers[:count]:
            content = specfiles.merge(content, layer)
        content["run"] = specfiles.nested(content["run"])
        paper(f"spec{count}", content)
        (request,) = sweep.expand(f"toy/spec{count}", "smoke")
        assert request.run.optimiser.settings["lr"] == pytest.approx(0.1 * count)
        assert request.selected == ("toy/chosen/A" if count >= 5 else "")
        (request,) = sweep.expand(f"toy/spec{count}", "smoke", {"optimiser.lr": 0.9})
        assert request.run.optimiser.settings["lr"] == 0.9


def test_a_paper_takes_what_another_one_selected_and_extends_its_specs(paper: Write, tmp_path: Path) -> None:
    paper("_base", {"run": SMALL, "cases": {"A": {"selected": "toy/chosen"}, "B": {"selected": "toy/chosen/A"}}})
    paper("chosen", {"run": SMALL, "tiers": {"smoke": {}}})
    other = tmp_path / "papers" / "second" / "specs" / "spec.yaml"
    other.parent.mkdir(parents=True)
    other.write_text("extends: ../../toy/specs/_base.yaml\ntiers: {smoke: {}}\n")
    with pytest.raises(Problem, match=r"Nothing is selected by toy/chosen .* replicate select toy/chosen --tier smoke"):
        sweep.expand("second", "smoke")
    chosen = selected.path_of("toy", "smoke")
    chosen.parent.mkdir(parents=True)
    chosen.write_text("chosen: {A: {optimiser.lr: 0.5}}\n")
    assert [r.run.optimiser.settings["lr"] for r in sweep.expand("second", "smoke")] == [0.5, 0.5]


def test_weights_of_pictures_with_other_channels_are_refused_before_the_parent_runs(
    paper: Write, tmp_path: Path
) -> None:
    for number in range(24):
        own = tmp_path / "data" / "my_set" / ("test" if number % 4 == 0 else "train") / "abcdef"[number // 4]
        own.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (9 * number, 0, 0)).save(own / f"{number}.png")
    paper("first", TOY)
    paper("second", {**TOY, "run": {**TOY["run"], "parent": {"spec": "toy/first", "seed": 0}}})
    assert verbs.plan("toy/second", seeds=[0])["runs"] == 2
    with pytest.raises(
        Problem, match=r"my_set has pictures of 3 channels, .* toy/first come from digits, of 1\. Set parent=null"
    ):
        verbs.plan("toy/second", "smoke", {"data": "my_set"}, [0])
    assert verbs.plan("toy/second", "smoke", {"data": "my_set", "parent": None}, [0])["runs"] == 1


def test_what_a_file_says_wins_over_the_tiers_of_the_file_it_extends(paper: Write) -> None:
    tier = {
        "run": {"optimiser": {"lr": 0.03}, "budget": {"batch": 4}},
        "seeds": "0-2",
        "grid": {"model.hidden": [[6]], "stream.tasks": [2]},
        "cases": {"A": {"optimiser.momentum": 0.1}, "gone": None},
    }
    paper("_base", {"run": SMALL, "cases": {"gone": {}}, "tiers": {"smoke": tier, "small": tier}})
    own = {"run": {"optimiser.lr": 0.5}, "seeds": "10-11", "grid": {"model.hidden": [[3], [4]]}}
    paper("_middle", {"extends": "_base.yaml", **own})
    case = {"A": {"optimiser": {"momentum": 0.2}}, "gone": {"optimiser.momentum": 0.3}}
    small = {"run": {"optimiser": {"lr": 0.7}}, "seeds": 5}
    paper("leaf", {"extends": "_middle.yaml", "cases": case, "tiers": {"smoke": {}, "small": small}})
    smoke = [r.run for r in sweep.expand("toy/leaf", "smoke")]
    assert {run.seed for run in smoke} == {10, 11}
    assert {(run.optimiser.settings["lr"], run.optimiser.settings["momentum"]) for run in smoke} == {(0.5, 0.2)}
    assert {tuple(run.model.settings["hidden"]) for run in smoke} == {(3,), (4,)}
    assert {(run.budget.batch, run.stream.settings["tasks"]) for run in smoke} == {(4, 2)}  # what it does not say stays
    assert {(r.run.seed, r.run.optimiser.settings["lr"]) for r in sweep.expand("toy/leaf", "small")} == {(5, 0.7)}


def test_a_file_extends_another_and_only_its_own_tiers_count(paper: Write) -> None:
    paper("_base", {"run": SMALL, "seeds": "0-2", "tiers": {"smoke": {"run": {"budget": {"batch": 4}}}, "small": {}}})
    paper("_middle", {"extends": "_base.yaml", "run": {"budget": {"iterations": 5}}})
    paper("leaf", {"extends": "_middle.yaml", "seeds": 7, "tiers": {"smoke": {}}})
    assert specfiles.specs("toy") == ["leaf"]
    (request,) = sweep.expand("toy", "smoke")
    assert (request.run.budget.batch, request.run.budget.iterations, request.run.seed) == (4, 5, 7)
    assert sweep.expand("toy", "small") == []


def test_grids_cases_and_seeds_multiply(paper: Write) -> None:
    grid = {"optimiser.lr": [0.1, 0.2], "budget.batch": [4, 8]}
    cases = {
        "A": {},
        "B": {"learner": {"name": "er", "memory": 9}, "grid": {"learner.alpha": [0.1, 0.2, 0.3]}},
        "C": None,
    }
    paper("spec", {**TOY, "grid": grid, "cases": cases, "seeds": "0-1"})
    requests = sweep.expand("toy/spec", "smoke")
    assert len(requests) == len({r.run_id for r in requests}) == 2 * (4 + 12)
    points = {(r.run.optimiser.settings["lr"], r.run.budget.batch, r.run.seed) for r in requests if r.case == "A"}
    assert points == set(itertools.product([0.1, 0.2], [4, 8], [0, 1]))
    fewer = sweep.expand("toy/spec", "smoke", {"optimiser.lr": 0.5}, seeds=[9])
    assert len(fewer) == 2 + 6
    assert {r.run.seed for r in fewer} == {9}


def test_a_tier_may_give_its_own_seeds_grid_and_cases(paper: Write) -> None:
    tier = {"seeds": [5], "grid": {"optimiser.lr": [0.3]}, "cases": {"A": None, "B": {"budget": {"batch": 2}}}}
    paper("spec", {**TOY, "grid": {"optimiser.lr": [0.1, 0.2]}, "cases": {"A": {}}, "tiers": {"smoke": tier}})
    (request,) = sweep.expand("toy/spec", "smoke")
    assert (request.case, request.run.seed, request.run.budget.batch) == ("B", 5, 2)
    assert request.run.optimiser.settings["lr"] == 0.3


def test_targets(paper: Write) -> None:
    paper("a", TOY)
    paper("b", {**TOY, "tiers": {"small": {}}})
    paper("_c", TOY)
    assert specfiles.papers() == ["toy"]
    assert sweep.targets("all") == sweep.targets("toy") == [("toy", "a"), ("toy", "b")]
    assert sweep.targets("toy/b") == [("toy", "b")]
    assert [r.spec for r in sweep.expand("all", "smoke")] == ["a"]


def test_a_spec_edited_in_the_same_process_is_read_anew(paper: Write) -> None:
    paper("spec", TOY)
    one = sweep.expand("toy/spec", "smoke")[0].run_id
    paper("spec", {**TOY, "run": {**SMALL, "budget": {"iterations": 13, "batch": 8}}})
    assert sweep.expand("toy/spec", "smoke")[0].run_id != one


def test_a_loaded_spec_is_a_copy_that_nobody_can_spoil(paper: Write) -> None:
    paper("spec", {**TOY, "cases": {"A": {}}})
    before = sweep.expand("toy/spec", "smoke")
    content = specfiles.load("toy", "spec")
    content["run"]["data"] = "mnist"
    content["cases"]["B"] = {}
    assert [r.run_id for r in sweep.expand("toy/spec", "smoke")] == [r.run_id for r in before]


def test_a_case_is_asked_for_by_name(paper: Write) -> None:
    cases = {"A": {"learner": {"name": "finetune"}}, "B": {"learner": {"name": "er", "memory": 9}}}
    paper("spec", {**TOY, "cases": cases})
    assert [r.case for r in sweep.expand("toy/spec", "smoke", case="B")] == ["B"]
    # A has no memory: without the case the override would be refused
    (one,) = sweep.expand("toy/spec", "smoke", {"learner.memory": 50}, case="B")
    assert one.run.learner.settings["memory"] == 50
    with pytest.raises(Problem, match=r"has a case 'BB'.*Did you mean 'B'"):
        sweep.expand("toy/spec", "smoke", case="BB")


def test_a_case_that_an_extending_file_takes_out_stays_out(paper: Write) -> None:
    cases = {"A": {}, "B": {"learner": {"name": "finetune"}}}
    paper("_base", {**TOY, "cases": cases, "tiers": {"smoke": {"cases": {"B": {"budget": {"batch": 2}}}}}})
    paper("leaf", {"extends": "_base.yaml", "cases": {"B": None}, "tiers": {"smoke": {}}})
    assert [r.case for r in sweep.expand("toy/leaf", "smoke")] == ["A"]


def test_a_spec_that_was_read_before_is_the_same_in_the_same_order(
    paper: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept of a file gives back its types and the order of its cases; a damaged copy is read anew."""
    text = "cases: {zeta: {learner.alpha: 1e-3}, alpha: null}\nruns: {1: a}\ntiers: {}\n"
    path = paper("kept", text)
    first = specfiles.read(path)
    kept = [p for p in (specfiles.cache_dir() / "specs").glob("*.json")]
    assert not kept  # a key that is a number would come back as a text
    path.write_text(text := text.replace("1: a", "one: a"))
    for number in range(3):
        specfiles._parsed.cache_clear()
        again = specfiles.read(path)
        assert list(again["cases"]) == list(first["cases"]) == ["zeta", "alpha"]
        assert again["cases"]["zeta"]["learner.alpha"] == 0.001
        assert again["runs"] == {"one": "a"}
        (copy,) = (specfiles.cache_dir() / "specs").glob("*.json")
        if number == 1:
            copy.write_text("{")
    monkeypatch.setattr(specfiles, "_of_yaml", lambda path: pytest.fail("it is kept"))
    specfiles._parsed.cache_clear()
    assert specfiles.read(path) == again
