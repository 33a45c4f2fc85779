"""The command line: what each verb prints, exit codes, JSON, and that reading verbs stay light."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common import loop, reading, readme, report, selected, show, sweep, table, verbs
from common.asked import folder_of
from common.cli import VERBS, main
from common.errors import Problem
from common.files import read_json
from common.outcome import Outcome
from common.places import ROOT, results_dir, runs_dir
from common.record import RunFolder
from tests.helpers import SMALL

Write = Callable[..., Path]
TOY: dict[str, Any] = {
    "about": "A toy.", "run": {**SMALL, "budget": {"iterations": 4, "batch": 8}}, "tiers": {"smoke": {}}, "seeds": "0-1",
}  # fmt: skip


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*words: str, code: int = 0) -> str:
        assert main(list(words)) == code
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return out

    return run


def test_help_of_everything(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], *([verb] for verb in VERBS)):
        with pytest.raises(SystemExit) as left:
            main([*words, "--help"])
        assert left.value.code == 0
        out = capsys.readouterr().out
        assert "usage: replicate" in out
        if not words:
            assert all(verb in out for verb in VERBS)


def test_reading_verbs_never_import_torch(small: Callable[..., Any]) -> None:
    loop.run(small("er"))
    run_id = small("er").run_id
    commands = [["list"], ["status", "all"], ["claims", "all"], ["plan", "all"], ["show", run_id], ["data", "list"]]
    commands += [[*words, "--json"] for words in commands]
    code = (
        "import sys\nfrom common.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: print('HELP', [m for m in ('torch', 'pandas', 'numpy') if m in sys.modules])\n"
        f"for words in {commands!r}:\n"
        "    print('CODE', words, main(words), [m for m in ('torch', 'lightning', 'timm') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""
    marks = [line for line in done.stdout.splitlines() if line.startswith(("HELP", "CODE"))]
    assert marks == ["HELP []", *(f"CODE {words} 0 []" for words in commands)]


@pytest.mark.parametrize("words", [["list"], ["plan", "toy"], ["status", "toy"], ["claims", "toy"], ["data", "list"]])
def test_json_is_one_value_and_text_is_for_people(words: list[str], paper: Write, said: Callable[..., str]) -> None:
    paper("one", TOY)
    assert json.loads(said(*words, "--json")) is not None
    text = said(*words)
    assert text.strip()
    assert not text.startswith(("{", "["))


def test_rows_fit_the_terminal_and_stay_whole_when_piped(
    said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    piped = said("list")
    monkeypatch.setenv("COLUMNS", "90")
    narrow = said("list")
    assert max(map(len, piped.splitlines())) > 120
    assert narrow.split() == piped.split()
    assert all(len(line) <= 90 or " " not in line.strip() for line in narrow.splitlines())


def test_one_broken_spec_file_is_named_and_the_rest_is_read(
    paper: Write, said: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = paper("one", TOY).parent
    paper("bad", {**TOY, "extends": "papers/toy/specs/one.yaml"})
    row = "says: x, source: p, mark: derived, measure: acc, tiers: {smoke: {at_most: 1, expect: holds}}"
    (folder.parent / "claims.yaml").write_text(
        f"- {{id: C1, runs: {{spec: one}}, {row}}}\n- {{id: C2, runs: {{spec: bad, case: A}}, {row}}}\n"
    )
    loop.run(sweep.expand("toy/one", "smoke")[0].run)
    why = f"papers/toy/specs/bad.yaml is left out: {folder}/bad.yaml extends 'papers/toy/specs/one.yaml', but"
    listed = " ".join(said("list").split())  # lines are broken to the width of the terminal
    assert why in listed
    assert "The path counts from the folder of the file that says it." in listed
    assert "A toy." in listed
    for words, told in (("status", "1 done, 1 missing"), ("claims", "toy  C1"), ("figures", "runs.csv")):
        assert main([words, "toy", "--tier", "smoke"]) == 0
        out, err = capsys.readouterr()
        assert told in out
        err = " ".join(err.split())
        assert err.startswith(why)
        assert err.count("is left out") == 1
    for words in (("plan", "toy"), ("status", "toy/bad"), ("run", "toy")):  # what is asked for must be whole
        assert main(list(words)) == 1
        assert f"{folder}/bad.yaml extends" in " ".join(capsys.readouterr().err.split())


def test_plan_counts_what_is_missing_and_runs_nothing(paper: Write, said: Callable[..., str]) -> None:
    paper("one", {**TOY, "grid": {"optimiser.lr": [0.1, 0.01]}})
    plan = json.loads(said("plan", "toy", "--json"))
    assert (plan["runs"], plan["complete"], len(plan["missing"]), plan["updates"]) == (4, 0, 4, 48)
    assert not [p for p in runs_dir().iterdir() if p.name != ".cache"]
    first = sweep.expand("toy/one", "smoke")[0]
    loop.run(first.run)
    plan = json.loads(said("plan", "toy", "--json"))
    assert (plan["runs"], plan["complete"], plan["updates"]) == (4, 1, 36)
    assert first.run_id not in plan["missing"]
    RunFolder(runs_dir() / first.run_id).write_status(state="done", updates=12, total=12, seconds=600.0)
    plan = json.loads(said("plan", "toy", "--json"))
    assert (plan["core_seconds"], plan["estimated_from"]) == (1800.0, "runs like them")  # by the one that is done
    assert "4 runs, 1 complete, 3 to run" in said("plan", "toy")
    assert "2 runs" in said("plan", "toy", "optimiser.lr=0.5")
    assert "3 runs" in said("plan", "toy", "--seeds", "0-2", "optimiser.lr=0.5")


def test_plan_claims_no_time_where_nothing_is_known() -> None:
    known = {
        "target": "toy",
        "tier": "smoke",
        "runs": 2,
        "complete": 0,
        "missing": ["a", "b"],
        "specs": {},
        "seconds": 0.0,
    }
    known |= {"workers": 2, "estimated_from": "arithmetic", "memory_mb": 500, "updates": 8, "together": "2 alone"}
    assert "about 0 s" not in show.plan(known | {"unknown_time": 2})
    assert "about 2 min on 2 cores" in show.plan(known | {"unknown_time": 1, "seconds": 91.0})


def test_overrides_may_stand_anywhere(paper: Write, said: Callable[..., str]) -> None:
    paper("one", TOY)
    orders = [
        "plan toy/one --json optimiser.lr=0.5 --tier smoke budget.batch=4 --seeds 3",
        "plan toy/one optimiser.lr=0.5 budget.batch=4 --tier smoke --seeds 3 --json",
        "plan --tier smoke --seeds 3 --json toy/one budget.batch=4 optimiser.lr=0.5",
    ]
    assert len({said(*words.split()) for words in orders}) == 1


def test_status_follows_a_run(paper: Write, said: Callable[..., str]) -> None:
    paper("one", TOY)
    assert said("status", "toy").startswith("2 missing")
    one, other = (r.run for r in sweep.expand("toy/one", "smoke"))
    loop.run(one)
    asked = iter(range(100))
    with pytest.raises(loop.Stopped):
        loop.run(other, loop.Place(stop=lambda: next(asked) == 5))
    text = said("status", "toy")
    assert text.startswith("1 done, 1 interrupted")
    assert f"{other.run_id}  50 %" in text
    rows = json.loads(said("status", "toy", "--json"))
    assert {r["run"]: r["state"] for r in rows} == {one.run_id: "done", other.run_id: "interrupted"}


def test_without_a_tier_those_where_a_request_is_impossible_or_not_begun_are_left_out(
    paper: Write, said: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    epochs = {"budget": {"iterations": None, "epochs": 1}}
    paper("one", {**TOY, "seeds": 0, "tiers": {"smoke": {}, "small": {"seeds": 5}, "full": {"run": epochs}}})
    asked = ("toy/one", "budget.iterations=3")  # at full there would be both
    loop.run(sweep.expand("toy/one", "smoke", {"budget.iterations": 3})[0].run)
    assert {row["tier"] for row in json.loads(said("status", *asked, "--json"))} == {"smoke"}
    assert "smoke@one,budget.iterations=3/runs.csv" in said("figures", *asked)
    assert "small@" not in said("figures", *asked)
    assert {row["tier"] for row in json.loads(said("status", "toy/one", "--json"))} == {"smoke", "small", "full"}
    assert "2 missing" in said("status", "toy/one", "budget.iterations=4")  # nothing is begun: all that is possible
    for words in (("status", "toy/one", "learner.foo=1"), ("status", *asked, "--tier", "full")):
        assert main(list(words)) == 1
    assert "has no setting 'foo'" in capsys.readouterr().err


def test_figures_of_nothing_say_so(paper: Write, said: Callable[..., str]) -> None:
    paper("one", TOY)
    assert "nothing to draw" in said("figures", "toy")
    assert json.loads(said("figures", "toy", "--json")) == []


def test_verdicts_are_written_of_stored_tables_alone(paper: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    paper("one", TOY)
    loop.run(sweep.expand("toy/one", "smoke")[0].run)  # a sweep that is still under way has no tables yet
    asked: list[Path] = []
    monkeypatch.setattr(report, "store_verdicts", lambda paper, stored, rows: asked.append(stored.folder))
    verbs.write_verdicts("toy")
    assert asked == []
    verbs.tables("toy", "smoke", store=True)
    loop.run(sweep.expand("toy/one", "smoke")[1].run)  # not in the stored table, whose digest the verdicts name
    judged: list[int] = []
    monkeypatch.setattr(reading, "_judged", lambda paper, wanted, runs, tier: judged.append(len(runs)))
    verbs.write_verdicts("toy")
    assert asked == [results_dir() / "toy" / "smoke"]
    assert judged == [1]


def test_new_claims_are_locked_when_verdicts_are_written(paper: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    claims = paper("one", TOY).parent.parent / "claims.yaml"
    row = "{id: C1, says: %s, source: p, mark: derived, runs: {}, measure: acc, tiers: {smoke: {at_most: 1, expect: holds}}}"
    claims.write_text(f"- {row % 'it learns'}\n")
    verbs.write_verdicts("toy")
    assert list(read_json(claims.with_suffix(".lock"))) == ["C1"]
    claims.write_text(f"- {row % 'it learns well'}\n")
    with pytest.raises(Problem, match=r"C1: what the paper reports was edited"):
        verbs.write_verdicts("toy")


def test_a_claim_that_cannot_be_judged_on_the_runs_that_are_there_says_why(
    paper: Write, said: Callable[..., str]
) -> None:
    folder = paper("one", {**TOY, "seeds": 0, "grid": {"optimiser.lr": [0.1, 0.01]}}).parent.parent
    paper("later", TOY)
    row = "says: x, source: p, mark: derived, measure: acc, tiers: {smoke: {at_most: 1, expect: holds}}"
    (folder / "claims.yaml").write_text(
        f"- {{id: C1, runs: {{spec: one}}, {row}}}\n- {{id: C2, runs: {{spec: later}}, {row}}}\n"
    )
    for request in sweep.expand("toy/one", "smoke"):
        loop.run(request.run)
    told = said("claims", "toy", "--tier", "smoke")
    assert "toy C1 cannot be judged at smoke: seed 0 has 2 runs that differ in optimiser.lr;" in told
    assert "toy has not run at smoke, or not all of it: C2\n" in told + "\n"


def test_what_verdicts_are_written_into_is_listed_and_is_of_the_target_alone(
    paper: Write, tmp_path: Path, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    claims = paper("one", TOY).parent.parent / "claims.yaml"
    row = (
        "says: it learns, source: p, mark: derived, runs: {}, measure: acc, tiers: {smoke: {at_most: 1, expect: holds}}"
    )
    claims.write_text(f"- {{id: C1, {row}}}\n")
    other = tmp_path / "papers" / "other"
    (other / "specs").mkdir(parents=True)
    for path in (other / "README.md", tmp_path / "README.md"):
        path.write_text(f"{readme.BEGIN}\nold\n{readme.END}\n")
    for request in sweep.expand("toy/one", "smoke"):
        loop.run(request.run)
    verbs.tables("toy", "smoke", store=True)
    monkeypatch.chdir(tmp_path)
    folder = "results/toy/smoke"
    told = said("claims", "toy", "--tier", "smoke", "--write").partition("written:\n")[2].split()
    assert told == ["papers/toy/claims.lock", f"{folder}/verdicts.json", f"{folder}/verdicts.md", "README.md"]
    assert "old" in (other / "README.md").read_text()
    top = (tmp_path / "README.md").read_text()
    assert "| toy | " in top  # it has no README that a link could lead to
    assert "nothing to write anew" in said("claims", "toy", "--tier", "smoke", "--write")
    assert json.loads(said("claims", "toy", "--tier", "smoke", "--write", "--json"))


def test_show_says_where_a_run_came_from(paper: Write, said: Callable[..., str]) -> None:
    paper("one", TOY)
    run = sweep.expand("toy/one", "smoke")[1].run
    loop.run(run)
    for name in (run.run_id, run.run_id[:20]):
        value = json.loads(said("show", name, "--json"))
        assert value["run"] == run.run_id
        assert value["spec"]["optimiser"]["settings"]["lr"] == 0.05
        assert value["again"] == "replicate run toy/one --tier smoke --seeds 1"
        assert value["provenance"]["code"]["digest"]
    assert run.run_id in said("show", run.run_id)


def test_run_does_what_is_missing_and_then_nothing(
    paper: Write, said: Callable[..., str], forked: None, capsys: pytest.CaptureFixture[str]
) -> None:
    paper("one", TOY)
    assert said("run", "toy", "--workers", "2").startswith("2 runs done, 0 were done before, 0 failed")
    assert said("run", "toy").startswith("0 runs done, 2 were done before, 0 failed")
    value = json.loads(said("run", "toy", "--json", "--seeds", "0-2"))
    assert (len(value["done"]), len(value["before"])) == (1, 2)


def test_ctrl_c_ends_with_130(
    paper: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(verbs, "plan", stopped)
    paper("one", TOY)
    assert main(["plan", "toy"]) == 130
    assert "goes on where it was" in capsys.readouterr().err


def test_a_fault_of_ours_is_called_one(
    paper: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(verbs, "plan", broken)
    paper("one", TOY)
    assert main(["plan", "toy"]) == 1
    err = capsys.readouterr().err
    assert err == "error: ZeroDivisionError: by zero. This is a fault of replicate; --debug shows where.\n"
    with pytest.raises(ZeroDivisionError):
        main(["plan", "toy", "--debug"])


def test_select_takes_the_best_of_each_case_and_reporting_specs_use_it(
    paper: Write, said: Callable[..., str], forked: None, capsys: pytest.CaptureFixture[str]
) -> None:
    choose = {
        **TOY,
        "run": {
            **TOY["run"],
            "stream": {**SMALL["stream"], "evaluate_on": "validation"},
            "parent": {"spec": "toy/before", "seed": 0},
        },
        "cases": {"A": {"grid": {"optimiser.lr": [1e-9, 0.1]}}, "B": {"learner": {"name": "er", "memory": 20}}},
        "grid": {"optimiser.lr": [0.2]},
        "seeds": "100-101",
    }
    paper("before", TOY)  # a parent may measure what it likes: nothing is chosen by it
    paper("choose", choose)
    paper("report", {**TOY, "selected": "choose/A"})
    with pytest.raises(Problem, match="Nothing is selected by toy/choose"):
        sweep.expand("toy/report", "smoke")
    assert "* A" in said("select", "toy/choose", "--workers", "2")
    assert selected.taken("toy", "smoke", "A", "choose") == ("toy/choose/A", {"optimiser.lr": 0.1})
    assert selected.taken("toy", "smoke", "B", "choose") == ("toy/choose/B", {"optimiser.lr": 0.2})
    assert {r.run.optimiser.settings["lr"] for r in sweep.expand("toy/report", "smoke")} == {0.1}
    said("run", "toy/report", "--workers", "1")
    runs = verbs.tables("toy", "smoke").runs
    assert set(runs[runs["spec"] == "report"]["selected"]) == {
        "toy/choose/A"
    }  # each result says who chose its settings
    choose["cases"]["A"] = {"grid": {"optimiser.lr": [0.05, 1e-9]}}  # chosen anew in the same process: seen at once
    paper("choose", choose)
    said("select", "toy/choose")
    assert {r.run.optimiser.settings["lr"] for r in sweep.expand("toy/report", "smoke")} == {0.05}


def test_settings_that_are_lists_can_be_selected(paper: Write, said: Callable[..., str], forked: None) -> None:
    held_out = {**TOY["run"], "stream": {**SMALL["stream"], "evaluate_on": "validation"}}
    axes = {"model.hidden": [[2], [30, 20]], "optimiser.lr": [1e-9, 0.1]}
    paper("choose", {**TOY, "run": held_out, "cases": {"A": {}}, "grid": axes, "seeds": "100-101"})
    paper("report", {**TOY, "cases": {"A": {}}, "selected": "choose"})
    told = json.loads(said("select", "toy/choose", "--json"))
    assert [row["n_seeds"] for row in told["scores"]] == [2] * 4
    best = told["scores"][0]["settings"]
    assert best["model.hidden"] in axes["model.hidden"]
    assert {str(r.run.flat()["model.hidden"]) for r in sweep.expand("toy/report", "smoke")} == {
        str(best["model.hidden"])
    }


def test_a_table_is_the_same_whichever_of_its_runs_are_still_there(paper: Write, tmp_path: Path) -> None:
    paper("one", {**TOY, "grid": {"optimiser.lr": [0.1, 0.01]}})
    requests = sweep.expand("toy/one", "smoke")
    for request in requests:
        loop.run(request.run)
    stored = table.collect(requests, table_folder := folder_of("toy", "smoke")).folder / "runs.csv"
    whole = stored.read_bytes()
    for request in requests:
        (runs_dir() / request.run_id).rename(tmp_path / "aside")
        table.collect(requests, table_folder)
        assert stored.read_bytes() == whole
        (tmp_path / "aside").rename(runs_dir() / request.run_id)


def test_cases_may_be_called_as_they_like(paper: Write, said: Callable[..., str], tmp_path: Path) -> None:
    names = ["10", "5", "NA", "None", "nan", "true"]
    rates = {int(name) if name.isdigit() else name: {"optimiser": {"lr": 0.01 * k}} for k, name in enumerate(names, 1)}
    paper("one", {**TOY, "cases": rates, "seeds": 0})
    paper("child", {**TOY, "run": {**TOY["run"], "parent": {"spec": "toy/one", "case": 5}}, "seeds": 0})
    requests = sweep.expand("toy", "smoke")
    for request in requests:
        loop.run(request.run)
    fresh = table.collect(requests, folder_of("toy", "smoke")).runs
    runs_dir().rename(tmp_path / "aside")
    stored = verbs.tables("toy", "smoke").runs
    assert stored["case"].fillna("").tolist() == fresh["case"].fillna("").tolist() == ["", *names]
    assert stored["run_id"].tolist() == fresh["run_id"].tolist()
    assert {row["case"] for row in verbs.summary("toy", "smoke")} == {"", *names}
    assert "1 runs" in said("plan", "toy/one", "--case", "5")


def test_stored_rows_stay_where_their_data_or_selection_is_not(paper: Write) -> None:
    paper("one", TOY)
    paper("chosen", {**TOY, "selected": "choose"})
    paper("choose", {**TOY, "run": {**TOY["run"], "stream": {**TOY["run"]["stream"], "evaluate_on": "validation"}}})
    chosen = selected.path_of("toy", "smoke")
    chosen.parent.mkdir()
    chosen.write_text("choose: {'': {}}\n")
    for request in sweep.expand("toy", "smoke"):
        loop.run(request.run)
    stored = verbs.tables("toy", "smoke", store=True).folder / "runs.csv"
    whole = stored.read_bytes()
    assert b",chosen," in whole
    chosen.unlink()
    assert {r.spec for r in verbs.tables("toy", "smoke", store=True).runs.itertuples()} == {"one", "chosen", "choose"}
    assert stored.read_bytes() == whole


def test_some_seeds_of_a_spec_are_measured_and_not_judged(paper: Write, said: Callable[..., str], forked: None) -> None:
    paper("one", TOY)
    told = said("run", "toy/one", "--seeds", "0", "--workers", "1")
    assert re.search(
        r"^toy/one on scikit-learn digits .*: acc [\d.]+, .* \(percent, one seed; measured, not judged\)$", told, re.M
    )
    assert "nan" not in told


def test_a_mean_is_over_seeds_alone_and_says_which_point_of_a_grid_it_is_of(
    paper: Write, said: Callable[..., str]
) -> None:
    paper("one", {**TOY, "grid": {"optimiser.lr": [1e-9, 0.1], "model.hidden": [[12]]}})
    for request in sweep.expand("toy/one", "smoke"):
        loop.run(request.run)
    rows = verbs.summary("toy/one", "smoke")
    assert {row["settings"]["optimiser.lr"]: row["seeds"] for row in rows} == {"1e-09": [0, 1], "0.1": [0, 1]}
    assert all(set(row["settings"]) == {"optimiser.lr"} for row in rows)
    assert len({row["acc"] for row in rows}) == 2
    told = show.outcome(
        vars(Outcome()) | {"claims": [], "summary": rows, "brief": False, "figures": [], "undrawn": None}
    )
    assert "toy/one optimiser.lr=0.1 on " in told


def test_a_spec_as_it_stands_ends_with_what_it_measured_and_a_paper_with_where_its_table_lies(
    paper: Write, said: Callable[..., str]
) -> None:
    paper("one", {**TOY, "cases": {"A": {}, "B": {"optimiser": {"lr": 0.1}}}})
    for request in sweep.expand("toy/one", "smoke"):
        loop.run(request.run)
    told = said("run", "toy/one")
    assert re.findall(r"^toy/one (\w) on .*: acc [\d.]+, .*2 seeds; measured, not judged\)$", told, re.M) == ["A", "B"]
    assert "toy/smoke/runs.csv" in told
    whole = said("run", "toy")
    assert "acc" not in whole
    assert "toy/smoke/runs.csv" in whole
    assert [row["case"] for row in json.loads(said("run", "toy/one", "--json"))["summary"]] == ["A", "B"]


def test_with_other_data_cases_keep_their_names_unless_they_are_named_after_their_data(paper: Write) -> None:
    paper("methods", {**TOY, "seeds": 0, "cases": {"A": {}, "B": {"optimiser": {"lr": 0.1}}}})
    paper("sets", {**TOY, "seeds": 0, "cases": {"Digits": {"data": "digits"}, "MNIST": {"data": "mnist"}}})
    over = {"data": "digits", "optimiser.momentum": 0.5}
    for request in sweep.expand("toy/methods", "smoke", over) + sweep.expand("toy/sets", "smoke", over, case="Digits"):
        loop.run(request.run)
    assert [row["case"] for row in verbs.summary("toy/methods", "smoke", over)] == ["A", "B"]
    assert [row["case"] for row in verbs.summary("toy/sets", "smoke", over, case="Digits")] == [""]


def test_seeds_that_another_spec_of_the_paper_has_get_tables_of_their_own_too(
    paper: Write, said: Callable[..., str], forked: None
) -> None:
    paper("one", TOY)
    paper("other", {**TOY, "run": {**TOY["run"], "optimiser": {**SMALL["optimiser"], "lr": 0.2}}, "seeds": "100"})
    told = said("run", "toy/one", "--seeds", "100")
    assert re.search(r"^toy/one on scikit-learn digits .*: acc [\d.]+, ", told, re.M)
    asked = {(target, seed): reading.tables(target, "smoke", seeds=[seed]).folder.name
             for target in ("toy", "toy/one", "toy/other") for seed in (0, 100)}  # fmt: skip
    assert asked == {
        ("toy", 0): "smoke@seeds=0", ("toy", 100): "smoke@seeds=100",
        ("toy/one", 0): "smoke", ("toy/one", 100): "smoke@one,seeds=100",
        ("toy/other", 0): "smoke@other,seeds=0", ("toy/other", 100): "smoke",
    }  # fmt: skip


def test_some_seeds_of_a_claim_are_judged_from_the_stored_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_RESULTS", str(ROOT / "results"))
    (row,) = [row for row in verbs.claims("stability_gap", "smoke", seeds=[0, 1]) if row["claim"] == "C1"]
    assert row["seeds"] == [0, 1]  # though the paper's selections have others


@pytest.mark.parametrize("room", ["RUNS", "RESULTS"])
def test_a_folder_that_cannot_be_written_is_said_before_anything_runs(
    room: str, paper: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paper("one", TOY)
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv(f"REPLICATE_{room}", str(tmp_path / "a file" / "within"))
    with pytest.raises(Problem, match=rf"Nothing can be written to .*a file/within \(.*REPLICATE_{room}"):
        verbs.run("toy/one")


def test_seeds_that_the_spec_does_not_have_get_tables_of_their_own(paper: Write) -> None:
    paper("one", TOY)
    for request in sweep.expand("toy/one", "smoke", seeds=[0, 1, 7]):
        loop.run(request.run)
    assert main(["figures", "toy", "--tier", "smoke", "--seeds", "7"]) == 0
    assert [p.name for p in (results_dir() / "toy").iterdir()] == ["smoke@seeds=7"]
    assert main(["figures", "toy", "--tier", "smoke", "--seeds", "0"]) == 0  # a part of the paper's own table
    assert set(verbs.tables("toy", "smoke").runs["seed"]) == {0, 1}
    assert (results_dir() / "toy" / "smoke" / "runs.csv").exists()
