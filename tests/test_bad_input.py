"""Whatever a user gets wrong is refused in plain words, all of it at once, and nothing that was stored changes."""

import errno
import io
import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common import loop, progress, sweep
from common.cli import main
from common.loop import Place
from common.places import runs_dir
from common.words import parse_overrides
from tests.helpers import SMALL

Write = Callable[..., Path]
TOY = {"about": "A toy.", "run": {**SMALL, "budget": {"iterations": 4, "batch": 8}}, "tiers": {"smoke": {}}}
CASES = {
    **TOY,
    "cases": {"ER": {"learner": {"name": "er", "memory": 20}}, "GEM": {"learner": {"name": "gem", "memory": 20}}},
}


@pytest.fixture
def toy(paper: Write) -> Write:
    """A paper "toy" with the specs "one" (fine-tuning) and "two" (cases ER and GEM)."""
    paper("one", TOY)
    paper("two", CASES)
    return paper


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The message with which the command line refuses those words; checks what holds for every refusal."""

    def run(*words: str, code: int = 1) -> str:
        before = everything()
        assert main(list(words)) == code
        out, err = capsys.readouterr()
        text = err if err.startswith("error: ") else out + err
        assert "Traceback" not in out + err
        assert "fault of replicate" not in text, text
        assert everything() == before, "stored files changed"
        return text

    return run


def everything() -> dict[str, bytes]:
    """Bytes of every stored file but caches, locks and what says how a run stands."""
    files = [p for p in runs_dir().rglob("*") if p.is_file()] if runs_dir().is_dir() else []
    passing = {"status.json", "lock", "traceback.txt"}
    return {str(p): p.read_bytes() for p in files if ".cache" not in p.parts and p.name not in passing}


def holds(text: str, *words: str) -> None:
    for word in words:
        assert word in text, f"{word!r} is not in:\n{text}"


# --- the command line ------------------------------------------------------------------------------------------

ADAM = "plan toy/one optimiser.lr=0.1 optimiser.name=adam"
WORDS: list[tuple[str, tuple[str, ...]]] = [
    ("rnu toy", ("no verb 'rnu'", "Did you mean 'run'?", "Verbs: list, plan")),
    ("", ("VERB", "--help")),
    ("run", ("target", "replicate run --help")),
    ("plan toyy", ("no paper 'toyy'", "Did you mean 'toy'?", "Targets: all, toy")),
    ("plan toy/onne", ("toy has no spec 'onne'", "Did you mean 'one'?", "Specs: one, two")),
    ("plan toy --tier smal", ("'smal'", "Did you mean 'small'?", "smoke")),
    ("plan toy/one --tier full", ("toy/one: it has no tier 'full'", "only: smoke")),
    ("plan toy --teir small", ("'--teir'", "replicate plan --help")),
    ("plan toy/one learner.alpha", ("'learner.alpha' is no override", "key=value")),
    ("plan toy/one lerner.alpha=1", ("'lerner.alpha' is no setting", "Did you mean 'learner.alpha'?")),
    ("plan toy/one a b=2", ("'a' is no override",)),
    ("plan toy/one learner.alpha=[1", ("value of learner.alpha is '[1'", "Quote it")),
    ("plan toy/one learner.aplha=1", ("learner 'finetune' has no setting 'aplha'", "Allowed: none")),
    ("plan toy/one learner.name=er learner.memry=9", ("no setting 'memry'", "Did you mean 'memory'?", "alpha")),
    ("plan toy/one learner.name=re", ("learner.name is 're'", "Did you mean 'er'?", "Known: agem", "dotted path")),
    ("plan toy/one learner=er", ("learner is 'er'", "mapping with a name")),
    ("plan toy/one learner.name=no_such_module.Mine", ("no module 'no_such_module'",)),
    ("plan toy/one learner.name=common.learners.replay.ERR", ("its module has no 'ERR'", "Did you mean 'ER'?")),
    ("plan toy/one learner.name=sys.exit", ("'sys.exit'", "no Python source")),
    ("plan toy/one data=digit", ("no data set 'digit'", "Did you mean 'digits'?")),
    ("plan toy/one data=3", ("'3'", "data set")),
    ("plan toy/one data=../x", ("'../x' is no name of a data set",)),
    ("plan toy/one data=mnist", ("data set 'mnist'", "is not in", "replicate data get mnist")),
    ("plan toy/one model.name=mpl", ("model.name is 'mpl'", "Did you mean 'mlp'?")),
    ("plan toy/one model.hidden=12", ("model.hidden is 12", "list[int]")),
    ("plan toy/one model.hidden=[12,-1]", ("model.hidden", "-1", "between 1")),
    ("plan toy/one model.hidden=[a]", ("model.hidden is ['a']", "list[int]")),
    (f"{ADAM} optimiser.betas=[0.9]", ("optimiser.betas is [0.9], but must be two numbers from 0 to below 1",)),
    (f"{ADAM} optimiser.betas=[0.9,1]", ("optimiser.betas is [0.9, 1.0]",)),
    (f"{ADAM} optimiser.betas=[-0.1,0.9]", ("optimiser.betas is [-0.1, 0.9]",)),
    (f"{ADAM}w_scheduled optimiser.betas=[]", ("optimiser.betas is []",)),
    ("plan toy/one optimiser.lr=fast", ("optimiser.lr is 'fast'", "float")),
    ("plan toy/one optimiser.lr=-1", ("optimiser.lr is -1.0", "between 1e-12 and")),
    ("plan toy/one optimiser.lr=.nan", ("optimiser.lr is nan", "between")),
    ("plan toy/one optimiser.momentum=1.5", ("optimiser.momentum is 1.5", "between 0 and 1")),
    ("plan toy/one optimiser.fresh=1", ("optimiser.fresh is 1", "bool")),
    ("plan toy/one budget.batch=0", ("budget.batch is 0", "between 1 and")),
    ("plan toy/one budget.batch=2.5", ("budget.batch is 2.5", "int")),
    ("plan toy/one budget.batch=true", ("budget.batch is True", "int")),
    ("plan toy/one budget.bach=8", ("budget has no setting 'bach'", "Did you mean 'batch'?", "Allowed: batch,")),
    ("plan toy/one budget.epochs=2", ("iterations=4 and epochs=2", "exactly one")),
    ("plan toy/one budget.iterations=null", ("iterations=None and epochs=None", "exactly one")),
    ("plan toy/one budget=3", ("budget is 3", "mapping with: batch")),
    ("plan toy/one evaluation.every=-1", ("evaluation.every is -1", "between 0 and")),
    ("plan toy/one evaluation.samples=0", ("evaluation.samples is 0", "between 1 and")),
    ("plan toy/one evaluation.gradients=yess", ("evaluation.gradients is 'yess'", "bool")),
    ("plan toy/one precision=16", ("precision is '16'", "32, bf16-mixed")),
    ("plan toy/one seed=abc", ("seed is 'abc'", "int")),
    ("plan toy/one seed=-3", ("seed is -3", "between 0 and")),
    ("plan toy/one --seeds x", ("seeds are 'x'", "0-4 or 0,1,2")),
    ("plan toy/one --seeds 4-1", ("seeds are '4-1'",)),
    ("plan toy/one --seeds 0-99999999999", ("seeds are '0-99999999999'", "at most")),
    ("plan toy/one stream.tasks=9", ("stream.tasks=9 x stream.classes_per_task=2 needs 18 classes", "has 10")),
    ("plan toy/one stream.tasks=0", ("stream.tasks is 0", "between 1 and")),
    ("plan toy/one stream.classes_per_task=0", ("stream.classes_per_task is 0", "between 1")),
    ("plan toy/one stream.first_class=-1", ("stream.first_class is -1", "between 0")),
    ("plan toy/one stream.first_class=8", ("needs 6 classes", "has 2 from class 8 on")),
    ("plan toy/one stream.train_per_task=1", ("stream.train_per_task is 1", "between 2 (one per class)")),
    ("plan toy/one stream.train_per_task=5000", ("stream.train_per_task is 5000", "the images there are")),
    ("plan toy/one stream.scenario=tsk", ("stream.scenario is 'tsk'", "Literal['class', 'task']")),
    ("plan toy/one stream.scenario=task", ("scenario is 'task' but model.heads is 'single'", "model.heads=multi")),
    ("plan toy/one model.heads=multi", ("model.heads is 'multi'", "class-incremental", "model.heads=single")),
    ("plan toy/one stream.name=domains stream.tasks=2", ("digits", "has no domains")),
    ("plan toy/one stream.name=rotated stream.degrees=.inf", ("stream.degrees is inf", "between")),
    ("plan toy/one learner.name=gem learner.memory=2", ("learner.memory is 2", "6 classes", "Raise it")),
    ("plan toy/one learner.name=er learner.memory=9 learner.alpha=1.2", ("learner.alpha is 1.2", "between 0 and 1")),
    ("plan toy/one learner.name=ewc learner.strength=-1", ("learner.strength is -1.0", "between 0")),
    ("plan toy/one learner.name=lwf learner.temperature=0", ("learner.temperature is 0.0", "between")),
    ("plan toy/one parent=3", ("parent is 3", "mapping with spec")),
    ("plan toy/one parent.spec=toy/none", ("toy has no spec 'none'",)),
    ("plan toy/one parent.spec=toy", ("parent.spec toy", "gives 0 runs")),
    ("plan toy/one parent.spec=5", ("parent is {'spec': 5}", "PAPER/SPEC")),
    ("plan toy/one parent.spec=toy/two", ("gives 2 runs", "parent.case")),
    ("plan toy/one parent.spec=toy/one parent.take=half", ("take (trunk or all)",)),
    ("run toy/one --workers 0", ("--workers is 0", "at least 1")),
    ("run toy/one --workers two", ("invalid int value: 'two'", "--help")),
    ("run toy/one --on slurm", ("--on slurm needs --profile NAME", "cpu", "gpu")),
    ("run toy/one --on slurm --profile cpus", ("There is no profile 'cpus'", "Did you mean 'cpu'?")),
    ("run toy/one --on slurm --profile cpu --workers 3", ("the profile decides",)),
    ("run toy/one --on slurm --profile cpu --wait --dry-run", ("do not go together",)),
    ("run toy/one --wait", ("--wait goes with --on slurm",)),
    ("run toy/one --on cloud", ("'cloud'", "local, slurm")),
    ("run toy/one --tier full", ("toy/one: it has no tier 'full'",)),
    ("run toy --tier full", ("Nothing of 'toy' runs at tier 'full'", "replicate list")),
    ("status toy learner.aplha=1", ("no setting 'aplha'",)),
    ("claims toy optimiser.lr=0.5", ("specs as they stand", "optimiser.lr=0.5")),
    ("figures toy optimiser.lr=fast", ("optimiser.lr is 'fast'",)),
    ("status toyy", ("no paper 'toyy'", "Did you mean 'toy'?")),
    ("select toy", ("'toy'", "PAPER/SPEC")),
    ("select all", ("'all'", "PAPER/SPEC")),
    ("select toy/one", ("toy/one measures on test images", "stream.evaluate_on=validation")),
    ("select toy/one learner.name=er", ("select takes no overrides", "learner.name=er")),
    ("show nothing-of-that-name", ("names neither a figure file nor one run", "replicate status all")),
    ("show /no/such/place", ("names neither a figure file nor one run",)),
    ("data get", ("needs the name of a data set", "Known: digits")),
    ("data fetch mnist", ("'fetch'", "Did you mean 'get'?", "list, get, check")),
    ("data check mnits", ("'mnits'", "Did you mean 'mnist'?")),
    ("list everything", ("'everything' is no option here",)),
]  # fmt: skip


@pytest.mark.parametrize(("words", "expected"), WORDS, ids=[w.replace("/", ":") or "nothing" for w, _ in WORDS])
def test_words_that_are_wrong(words: str, expected: tuple[str, ...], toy: Write, refused: Callable[..., str]) -> None:
    holds(refused(*words.split()), *expected)


def test_every_problem_at_once(toy: Write, refused: Callable[..., str]) -> None:
    text = refused(*"plan toy/two optimiser.lr=fast budget.batch=none model.nam=mlp stream.taks=3".split())
    for case in ("ER", "GEM"):
        for wrong in ("optimiser.lr is 'fast'", "budget.batch is 'none'", "no setting 'nam'", "no setting 'taks'"):
            assert any(f"({case})" in line and wrong in line for line in text.splitlines())
    assert all(line.startswith("error: ") for line in text.splitlines())


def test_problems_of_several_specs_and_of_the_streams_come_together(toy: Write, refused: Callable[..., str]) -> None:
    toy("three", {**TOY, "run": {**TOY["run"], "stream": {"name": "split", "tasks": 6, "classes_per_task": 2}}})  # type: ignore[dict-item]
    toy("four", {**TOY, "run": {**TOY["run"], "stream": {"name": "split", "tasks": 2, "classes_per_task": 6}}})  # type: ignore[dict-item]
    holds(refused("run", "toy"), "toy/three: stream.tasks=6", "toy/four: stream.tasks=2")


def test_debug_shows_where(toy: Write) -> None:
    from common.errors import Problem

    for words in (["--debug", "plan", "toyy"], ["plan", "toyy", "--debug"]):
        with pytest.raises(Problem):
            main(words)


def test_numbers_as_people_write_them(toy: Write, capsys: pytest.CaptureFixture[str]) -> None:
    ids = []
    for word in ("optimiser.lr=1e-3", "optimiser.lr=0.001", "optimiser.lr=1.0e-3"):
        assert main(["plan", "toy/one", word, "--json"]) == 0
        ids.append(json.loads(capsys.readouterr().out)["missing"])
    assert ids[0] == ids[1] == ids[2]


# --- spec files --------------------------------------------------------------------------------------------------

FILES: list[tuple[str, Any, tuple[str, ...]]] = [
    ("list", "- a\n- b\n", ("holds a list", "mapping with: about")),
    ("text", "just words", ("'just words' is no key of a spec", "Allowed: about")),
    ("empty", "", ("tier",)),
    ("broken", "run: {a: [1\n", ("spec.yaml cannot be read as YAML",)),
    ("tabs", "run:\n\t- x: 1\n", ("cannot be read as YAML",)),
    ("key", {**TOY, "sedes": [1]}, ("'sedes' is no key of a spec", "Did you mean 'seeds'?", "Allowed: about")),
    ("number key", {**TOY, 5: 1}, ("'5' is no key of a spec",)),
    ("tier", {**TOY, "tiers": {"smoke": {}, "samll": {}}}, ("'samll' is no tier", "Did you mean 'small'?")),
    ("tier null", {**TOY, "tiers": {"smoke": None}}, ("Tier 'smoke' must be a mapping",)),
    ("tier key", {**TOY, "tiers": {"smoke": {"caess": {}}}}, ("Tier 'smoke'", "cases, grid, run")),
    ("tiers", {**TOY, "tiers": ["smoke"]}, ("'tiers' must be a mapping", "['smoke']")),
    ("run", {**TOY, "run": 5}, ("'run' must be a mapping", "5")),
    ("run key", {**TOY, "run": {**SMALL, "modle": {"name": "mlp"}}}, ("'modle' is no part", "Did you mean 'model'?")),
    ("run number", {**TOY, "run": {**SMALL, 7: 1}}, ("'7' is no part of a run",)),
    ("deep number", {**TOY, "run": {**SMALL, "learner": {"name": "er", "memory": 9, 7: 1}}}, ("no setting '7'",)),
    ("cases", {**TOY, "cases": ["a"]}, ("'cases' must be a mapping", "['a']")),
    ("case", {**TOY, "cases": {"A": 3}}, ("case 'A'", "mapping", "3")),
    ("grid", {**TOY, "grid": 3}, ("'grid' must be a mapping", "3")),
    ("axis", {**TOY, "grid": {"optimiser.lr": 0.1}}, ("grid.optimiser.lr is 0.1", "list of values")),
    ("no axis", {**TOY, "grid": {"optimiser.lr": []}}, ("grid.optimiser.lr is []", "list of values")),
    ("seeds", {**TOY, "seeds": "many"}, ("seeds are 'many'", "0-4 or 0,1,2")),
    ("no seeds", {**TOY, "seeds": []}, ("seeds are []",)),
    ("selected", {**TOY, "selected": ["choose"]}, ("'selected' names choose, but toy has no such spec",)),
    ("selected number", {**TOY, "selected": 5}, ("'selected' must be", "5")),
    ("extends", {**TOY, "extends": "_none.yaml"}, ("_none.yaml is missing", "path counts from")),
    ("extends itself", {**TOY, "extends": "spec.yaml"}, ("spec.yaml", "extends itself")),
    ("its own parent", {**TOY, "run": {**TOY["run"], "parent": {"spec": "toy/spec"}}}, ("toy/spec", "its own parent")),  # type: ignore[dict-item]
    ("interpolation", "about: ${nowhere.x}\n", ("cannot be read as YAML",)),
    ("no part", {**TOY, "run": {"data": "digits"}}, ("stream is None", "learner is None", "budget is None")),
]  # fmt: skip


@pytest.mark.parametrize(("content", "expected"), [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_spec_files_that_are_wrong(
    content: Any, expected: tuple[str, ...], paper: Write, refused: Callable[..., str]
) -> None:
    paper("spec", content)
    holds(refused("plan", "toy/spec"), *expected)


def test_a_learner_of_ones_own_that_cannot_be_read(
    toy: Write, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_broken.py").write_text("class Mine(:\n    pass\n")
    (tmp_path / "own_default.py").write_text("X = 3\nclass Mine:\n    def __init__(self, *, a: int = X): ...\n")
    holds(refused("plan", "toy/one", "learner.name=own_broken.Mine"), "own_broken.py", "line 1")
    holds(refused("plan", "toy/one", "learner.name=own_default.Mine"), "own_default.Mine", "'a'", "written out")


# --- what is stored is damaged, locked or cannot be written ----------------------------------------------------------


def request(words: tuple[str, ...] = ()) -> Any:
    return sweep.expand("toy/one", "smoke", parse_overrides(list(words)))[0]


def interrupted() -> Path:
    """The folder of toy/one, stopped after its second update."""
    asked = iter(range(100))
    with pytest.raises(loop.Stopped):
        loop.run(request().run, Place(stop=lambda: next(asked) == 1))
    return runs_dir() / request().run_id


@pytest.mark.parametrize("left", [0, 1, 100, -1])
def test_checkpoint_cut_short(left: int, toy: Write, refused: Callable[..., str], forked: None) -> None:
    folder = interrupted()
    whole = (folder / "checkpoint.pt").read_bytes()
    (folder / "checkpoint.pt").write_bytes(whole[:left])
    holds(refused("run", "toy/one"), "checkpoint.pt is damaged", f"mv {folder}", "1 failed")


def test_checkpoint_of_another_run_or_changed(toy: Write, refused: Callable[..., str], forked: None) -> None:
    folder = interrupted()
    raw = bytearray((folder / "checkpoint.pt").read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / "checkpoint.pt").write_bytes(bytes(raw))
    holds(refused("run", "toy/one"), "does not match its digest")
    raw[len(raw) // 2] ^= 1
    (folder / "checkpoint.pt").write_bytes(bytes(raw))
    other = runs_dir() / request(("seed=1",)).run_id
    folder.rename(other)
    holds(refused("run", "toy/one", "seed=1"), "it belongs to run finetune-digits-s0")


@pytest.mark.parametrize("content", [b"", b'{"state": "do', b"\x00" * 50, b"\xff\xfe", b"[]", b"{}", b'"done"'])
@pytest.mark.parametrize("verb", ["status", "run", "plan"])
def test_status_cut_short(content: bytes, verb: str, toy: Write, refused: Callable[..., str]) -> None:
    path = runs_dir() / request().run_id / "status.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    holds(refused(verb, "toy/one"), str(path), "damaged", "Move it away")
    assert path.read_bytes() == content


@pytest.mark.parametrize("left", [0, 30, 400])
def test_trace_cut_short(left: int, toy: Write, refused: Callable[..., str]) -> None:
    folder = loop.run(request().run).path
    whole = (folder / "trace.npz").read_bytes()
    (folder / "trace.npz").write_bytes(whole[:left])
    holds(refused("claims", "toy"), "trace.npz is damaged", f"mv {folder}")


def test_trace_missing_of_a_finished_run(toy: Write, refused: Callable[..., str]) -> None:
    folder = loop.run(request().run).path
    (folder / "trace.npz").unlink()
    holds(refused("claims", "toy"), "trace.npz", "missing", f"mv {folder}")


@pytest.mark.parametrize("name", ["spec.json", "provenance.json", "status.json"])
def test_show_of_a_damaged_run(name: str, toy: Write, refused: Callable[..., str]) -> None:
    path = loop.run(request().run).path / name
    path.write_text(path.read_text()[:20])
    holds(refused("show", request().run_id), str(path), "damaged", "Move it away")


def test_metrics_cache_cut_short(toy: Write, refused: Callable[..., str]) -> None:
    from common import run_metrics

    loop.run(request().run)
    run_metrics.measured(request())
    (path,) = (runs_dir() / ".cache" / "metrics").iterdir()
    path.write_text(path.read_text()[:15])
    holds(refused("claims", "toy"), str(path), "damaged", "Move it away")


@pytest.mark.parametrize("content", ["", "run_id,spec\na,b,c,d\n", "run_id,case,spec,data\nx", "nonsense\n1\n", "\xff"])
def test_table_of_runs_cut_short(content: str, toy: Write, refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "results" / "toy" / "smoke" / "runs.csv"
    path.parent.mkdir(parents=True)
    path.write_bytes(content.encode("latin-1"))
    holds(refused("claims", "toy", "--tier", "smoke"), str(path), "damaged")
    assert path.read_bytes() == content.encode("latin-1")


@pytest.mark.parametrize("verb", ["run", "plan", "status"])
def test_a_file_where_the_runs_folder_should_be(
    verb: str, toy: Write, refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("REPLICATE_RUNS", str(tmp_path / "file"))
    holds(refused(verb, "toy/one"), str(tmp_path / "file"), "REPLICATE_RUNS")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs a file system that nobody can write to")
def test_a_runs_folder_that_nobody_can_write_to(
    toy: Write, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPLICATE_RUNS", "/proc/replicate")
    holds(refused("run", "toy/one"), "/proc/replicate", "REPLICATE_RUNS")


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("name", ["status.json", "checkpoint.pt", "trace.npz", "weights.pt", "spec.json"])
def test_a_full_disk(
    call: str, name: str, toy: Write, refused: Callable[..., str], forked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in ("checkpoint.pt", "trace.npz", "weights.pt"):
        interrupted()
    original = getattr(os, call)

    def full(*given: Any) -> Any:
        where = os.readlink(f"/proc/self/fd/{given[0]}") if call == "fsync" else str(given[1])
        if f"{name}" in where:
            raise FULL
        return original(*given)

    folder = runs_dir() / request().run_id
    before = (folder / name).read_bytes() if (folder / name).exists() else None
    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        patch.setattr(loop.Place, "save_every", 1, raising=False)
        if name == "checkpoint.pt":
            patch.setattr(progress.Clock, "save_now", lambda *_: True)
        assert main(["run", "toy/one"]) == 1
    assert ((folder / name).read_bytes() if (folder / name).exists() else None) == before
    assert not [p for p in folder.iterdir() if p.name.startswith(f".{name}.")]  # no half file is left
    assert not (folder / "lock").exists()
    assert main(["run", "toy/one"]) == 0  # there is space again


def test_a_full_disk_says_so(
    toy: Write, refused: Callable[..., str], forked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise FULL

    runs_dir().mkdir()
    sweep.data.load("digits")
    monkeypatch.setattr(os, "replace", full)
    holds(refused("run", "toy/one"), "No space left on device", "Free space", "1 failed", "Cannot write")


def test_a_lock_that_a_living_process_holds(toy: Write, refused: Callable[..., str], forked: None) -> None:
    folder = runs_dir() / request().run_id
    folder.mkdir(parents=True)
    mine = {"host": socket.gethostname(), "pid": os.getpid(), "token": "t"}
    (folder / "lock").write_text(json.dumps(mine))
    holds(
        refused("run", "toy/one"),
        f"written by process {os.getpid()}",
        "replicate status",
        "0 failed",
        "under way elsewhere",
    )
    assert json.loads((folder / "lock").read_text()) == mine


def test_a_lock_that_a_dead_process_left(toy: Write, forked: None, capsys: pytest.CaptureFixture[str]) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    folder = runs_dir() / request().run_id
    folder.mkdir(parents=True)
    (folder / "lock").write_text(
        json.dumps({"host": socket.gethostname(), "pid": child.pid, "token": uuid.uuid4().hex})
    )
    assert main(["run", "toy/one"]) == 0
    assert "1 runs done" in capsys.readouterr().out
    assert not list(folder.glob("lock*"))


def test_cuda_without_a_gpu(
    toy: Write, refused: Callable[..., str], forked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    holds(refused("run", "toy/one", "--device", "cuda"), "torch finds no GPU here", "--device cpu", "1 failed")


def test_a_damaged_data_set(toy: Write, refused: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in ("train-images", "train-labels", "t10k-images", "t10k-labels"):
        kind = "idx3" if "images" in name else "idx1"
        (folder / f"{name}-{kind}-ubyte").write_bytes(b"<html>404</html>")
    holds(refused("plan", "toy/one", "data=mnist"), str(folder), "get it again", "replicate data get")


def test_a_weights_file_of_a_parent_that_is_damaged(toy: Write, refused: Callable[..., str], forked: None) -> None:
    toy("child", {**TOY, "run": {**TOY["run"], "parent": {"spec": "toy/one"}}, "seeds": [0]})  # type: ignore[dict-item]
    folder = loop.run(request().run).path
    (folder / "weights.pt").write_bytes((folder / "weights.pt").read_bytes()[:100])
    holds(refused("run", "toy/child"), "weights.pt is damaged", f"mv {folder}")


def test_a_pipe_that_was_closed_is_no_error(toy: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Closed())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert main(["plan", "toy/one"]) == 0
