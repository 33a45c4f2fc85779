"""Whatever is wrong with data, specs, claims, profiles and what is stored is refused in plain words; nothing stored changes.

A table of cases: the harm done to a small whole project, the words typed, and what the message must say.
(tests/test_bad_input.py: what is wrong with the words themselves.)
"""

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from common.cli import main
from tests.bad_project import RUN, Project, contents, directed, forgotten, make_whole

Harm = Callable[[Project], Any] | None
Case = tuple[str, Harm, str, tuple[str, ...]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_whole(tmp_path_factory.mktemp("project") / "whole")


@pytest.fixture
def project(whole: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A copy of the project, in which a test stands and that it may harm."""
    shutil.copytree(whole.root, tmp_path / "copy", symlinks=True)
    copy = Project(tmp_path / "copy")
    monkeypatch.chdir(copy.root)
    with monkeypatch.context() as patch:
        directed(copy, patch)
        yield copy
    forgotten()


# --- harms -----------------------------------------------------------------------------------------------------------


def put(path: str, content: str | bytes) -> Harm:
    """A file is written."""

    def harm(project: Project) -> None:
        (project.root / path).parent.mkdir(parents=True, exist_ok=True)
        (project.root / path).write_bytes(content if isinstance(content, bytes) else content.encode())

    return harm


def cut(path: str, left: int) -> Harm:
    """A file is cut short; RUN is the folder of a finished run."""

    def harm(project: Project) -> None:
        where = place(project, path)
        where.write_bytes(where.read_bytes()[:left])

    return harm


def edit(path: str, old: str, new: str) -> Harm:
    """A text is replaced in a file."""

    def harm(project: Project) -> None:
        where = place(project, path)
        assert old in where.read_text()
        where.write_text(where.read_text().replace(old, new))

    return harm


def gone(path: str) -> Harm:
    """A file or folder is removed."""

    def harm(project: Project) -> None:
        where = place(project, path)
        shutil.rmtree(where) if where.is_dir() else where.unlink()

    return harm


def both(*harms: Harm) -> Harm:
    """One after the other."""

    def harm(project: Project) -> None:
        for one in harms:
            assert one
            one(project)

    return harm


def place(project: Project, path: str) -> Path:
    return project.run / path.removeprefix("RUN/") if path.startswith("RUN") else project.root / path


def trace(**over: Any) -> Harm:
    """Arrays of a finished run's trace are replaced (None: left out), and its metrics are not known yet."""

    def harm(project: Project) -> None:
        with np.load(project.run / "trace.npz") as stored:
            arrays = {name: stored[name] for name in stored.files} | over
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{name: value for name, value in arrays.items() if value is not None})
        (project.run / "trace.npz").write_bytes(buffer.getvalue())
        shutil.rmtree(project.root / "runs" / ".cache")

    return harm


def spec(**over: Any) -> Harm:
    return lambda project: project.spec("one", **over)


def claim(**over: Any) -> Harm:
    return lambda project: project.claim(**over)


def analysis(of: str, more: str = "") -> Harm:
    return put(
        "papers/toy/specs/look.yaml",
        f"of: {of}\nrun: {{analysis: {{name: layerwise}}}}\ntiers: {{smoke: {{}}}}\n{more}",
    )


def picture(size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((size, size, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def folder(classes: int = 6, test: int | None = None) -> Harm:
    """data/mine as an image folder."""

    def harm(project: Project) -> None:
        for split, count in (("train", classes), ("test", classes if test is None else test)):
            for label in range(count):
                for number in range(3):
                    path = project.root / "data" / "mine" / split / f"c{label}" / f"{number}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(picture())

    return harm


def shards(labels: Any = None, columns: tuple[str, str] = ("image", "label"), pictures: Any = None) -> Harm:
    """data/mine as parquet shards."""

    def harm(project: Project) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        (project.root / "data" / "mine").mkdir()
        for split in ("train", "test"):
            rows = pictures or [{"bytes": picture(), "path": "x"}] * 12
            table = pa.table({columns[0]: rows, columns[1]: labels or [i % 6 for i in range(12)]})
            pq.write_table(table, project.root / "data" / "mine" / f"{split}-00000-of-00001.parquet")

    return harm


SMOKE, PAPER = "results/toy/smoke", "papers/toy"
MINE, SHARD = "data/mine/train/c0/x.png", "data/mine/train-00000-of-00001.parquet"
NO_RUNS = gone("runs")
SELECTED = f"{PAPER}/selected/smoke.yaml"
MEASURE = claim(measure="mine")

WORDS: list[Case] = [
    (
        "case in small letters",
        None,
        "plan toy/two --case er",
        ("no spec has a case 'er'", "Did you mean 'ER'?", "Cases: ER, GEM"),
    ),
    ("case of none", None, "plan toy/one --case ER", ("no spec has a case 'ER'", "Cases: none")),
    ("paper in capitals", None, "plan TOY/one", ("no paper 'TOY'", "Did you mean 'toy'?")),
    ("target is a file", None, "plan papers/toy/specs/one.yaml", ("is a file", "PAPER/SPEC", "toy")),
    (
        "override twice",
        None,
        "plan toy/one optimiser.lr=0.1 optimiser.lr=0.2",
        ("optimiser.lr is given twice", "0.2", "once"),
    ),
    ("seed twice", None, "plan toy/one --seeds 0,0", ("0,0", "given twice", "Give each once")),
    ("seed and seeds", None, "plan toy/one seed=1 --seeds 0-2", ("seed=1", "--seeds 0-2", "one of the two")),
    ("data list NAME", None, "data list digits", ("takes no name", "replicate data check digits")),
    ("data of long name", None, "plan toy/one data=" + "a" * 300, ("is no name of a data set",)),
    ("show of long name", None, "show " + "a" * 300, ("names neither a figure file nor one run",)),
    (
        "option of another verb",
        None,
        "plan toy --workers 2",
        ("'--workers' is no option here", "replicate plan --help"),
    ),
    ("device", None, "run toy/one --device gpu", ("--device is 'gpu'", "Did you mean 'cpu'?", "auto, cpu, cuda")),
    ("together", None, "run toy/one --together 0", ("--together is '0'", "1 to 1000")),
    ("spaces", None, "plan toy/one optimiser.lr = 0.3", ("'optimiser.lr' is no override", "key=value")),
    ("plus sign", None, "plan toy/one +optimiser.lr=0.3", ("'+optimiser.lr'", "Did you mean 'optimiser.lr'?")),
    ("several values", None, "plan toy/one optimiser.lr=0.1,0.2", ("optimiser.lr is '0.1,0.2'", "float")),
    (
        "parent of no case",
        None,
        "plan toy/one parent.spec=toy/two parent.case=Er",
        ("parent.case is 'Er'", "Did you mean 'ER'?", "Cases: ER, GEM"),
    ),
    ("cancel of nothing", None, "cancel toy", ("nothing to cancel", "nothing was ever submitted")),
    ("no tier to select at", None, "select toy/choose --tier full", ("no tier 'full'", "only: smoke")),
]

SPECS: list[Case] = [
    (
        "key twice",
        put(f"{PAPER}/specs/one.yaml", "run: {}\nrun: {data: digits}\n"),
        "plan toy/one",
        ("one.yaml", "duplicate key run", "line 2"),
    ),
    (
        "no text",
        put(f"{PAPER}/specs/one.yaml", b"about: \xff\n"),
        "plan toy/one",
        ("one.yaml", "cannot be read as YAML"),
    ),
    (
        "code",
        put(f"{PAPER}/specs/one.yaml", "about: !!python/object/apply:os.system [ls]\n"),
        "plan toy/one",
        ("cannot be read as YAML", "os.system"),
    ),
    ("broken", put(f"{PAPER}/specs/one.yaml", "a: [\n"), "plan toy/one", ("one.yaml", "cannot be read as YAML")),
    ("no tier", put(f"{PAPER}/specs/one.yaml", "about: x\n"), "plan toy", ("toy/one names no tier", "never run")),
    ("about", spec(about=["x"]), "plan toy", ("'about' must be a sentence", "['x']")),
    ("axis", spec(grid={"optimiser.lrr": [1]}), "plan toy/one", ("no setting 'lrr'", "Did you mean 'lr'?")),
    (
        "value of an axis",
        spec(grid={"optimiser.lr": ["fast", 0.1]}),
        "plan toy/one",
        ("optimiser.lr is 'fast'", "float"),
    ),
    (
        "case",
        spec(cases={"A": {"lerner": {"name": "er"}}}),
        "plan toy/one",
        ("toy/one (A)", "'lerner'", "Did you mean 'learner'?"),
    ),
    (
        "clash of a case",
        spec(cases={"A": {"learner.alpha": 3}}),
        "plan toy/one",
        ("toy/one (A)", "no setting 'alpha'", "Allowed: none"),
    ),
    ("seeds", spec(seeds=[0, 0]), "plan toy/one", ("seeds are [0, 0]", "given twice")),
    (
        "parent",
        spec(run={**RUN, "parent": {"spec": "toy/tow"}}),
        "plan toy/one",
        ("toy has no spec 'tow'", "Did you mean 'two'?"),
    ),
    (
        "parent's case",
        spec(run={**RUN, "parent": {"spec": "toy/two", "case": "GEN"}}),
        "plan toy/one",
        ("parent.case is 'GEN'", "Did you mean 'GEM'?"),
    ),
    (
        "parent's seed",
        spec(run={**RUN, "parent": {"spec": "toy/two", "case": "ER", "seed": "x"}}),
        "plan toy/one",
        ("seed is 'x'", "int"),
    ),
    (
        "data of a run that collects none",
        spec(run={**RUN, "data": {"spec": "toy/two", "case": "ER"}}),
        "plan toy/one",
        ("toy/two", "collects no data"),
    ),
    ("analysis of none", analysis("onne"), "plan toy/look", ("of is 'onne'", "Did you mean 'one'?")),
    ("analysis of itself", analysis("look"), "plan toy/look", ("of is 'look'", "itself a spec of analyses")),
    ("analysis with seeds", analysis("one", "seeds: 0-3\n"), "plan toy/look", ("takes seeds from the spec",)),
]

SELECTION: list[Case] = [
    (
        "not yet",
        spec(selected="choose"),
        "plan toy/one",
        ("Nothing is selected by toy/choose", "replicate select toy/choose"),
    ),
    ("by no spec", spec(selected="chose"), "plan toy/one", ("toy has no such spec", "Did you mean 'choose'?")),
    ("a number", spec(selected=[5]), "plan toy/one", ("'selected' must be the name of a spec", "[5]")),
    (
        "no YAML",
        both(spec(selected="choose"), put(SELECTED, "choose: [\n")),
        "plan toy/one",
        ("smoke.yaml", "cannot be read as YAML"),
    ),
    (
        "texts",
        both(spec(selected="choose"), put(SELECTED, "choose: high\n")),
        "plan toy/one",
        ("smoke.yaml is damaged", "settings by spec and case"),
    ),
    (
        "text of a case",
        both(spec(selected="choose"), put(SELECTED, "choose: {'': high}\n")),
        "plan toy/one",
        ("smoke.yaml is damaged",),
    ),
    (
        "of another case",
        both(spec(selected="choose/C"), put(SELECTED, "choose: {B: {optimiser.lr: 0.1}}\n")),
        "plan toy/one",
        ("choose/C", "nothing for 'C'", "only for: B"),
    ),
    (
        "a setting",
        both(spec(selected="choose"), put(SELECTED, "choose: {'': {optimiser.lrr: 0.1}}\n")),
        "plan toy/one",
        ("no setting 'lrr'",),
    ),
    (
        "file damaged before selecting",
        put(SELECTED, "choose: high\n"),
        "select toy/choose",
        ("smoke.yaml is damaged", "select anew"),
    ),
]

CLAIMS: list[Case] = [
    ("edited", claim(says="it learns nothing"), "claims toy", ("C1", "edited after it was locked", "new id")),
    ("removed", put(f"{PAPER}/claims.yaml", "[]"), "claims toy", ("C1", "was removed", "Put it back")),
    ("spec", claim(runs={"spec": "onne"}), "claims toy", ("claim C1", "no spec 'onne'", "Did you mean 'one'?")),
    ("said before anything runs", claim(runs={"spec": "onne"}), "run toy/two", ("claim C1", "no spec 'onne'")),
    (
        "case",
        claim(runs={"spec": "two", "case": "Er"}),
        "claims toy",
        ("claim C1", "two has no case 'Er'", "Did you mean 'ER'?"),
    ),
    (
        "case of a measure",
        claim(runs={"spec": "two"}, measure="acc[ERR] - acc[joint]"),
        "claims toy",
        ("claim C1", "two has no case 'ERR'", "Did you mean 'ER'?", "no case 'joint'", "names one of: ER"),
    ),
    (
        "column",
        claim(runs={"spec": "one", "lerner.name": "er"}),
        "claims toy",
        ("'lerner.name' is no column", "Did you mean 'learner.name'?"),
    ),
    ("measure", claim(measure="accc"), "claims toy", ("claim C1", "'accc' is neither a column", "Did you mean 'acc'?")),
    ("sum", claim(measure="acc + forg"), "claims toy", ("'acc + forg' is neither a column",)),
    ("measure of texts", claim(measure="learner.name"), "claims toy", ("claim C1", "'learner.name' holds texts")),
    (
        "rule",
        claim(tiers={"smoke": {"at_leest": 1, "expect": "holds"}}),
        "claims toy",
        ("C1, tier smoke", "'at_leest'", "Did you mean 'at_least'?"),
    ),
    (
        "expectation",
        claim(tiers={"smoke": {"at_least": 1, "expect": "within"}}),
        "claims toy",
        ("never gives 'within'", "holds, fails"),
    ),
    (
        "tier",
        claim(tiers={"smok": {"at_least": 1, "expect": "holds"}}),
        "claims toy",
        ("'smok' is no tier", "Did you mean 'smoke'?"),
    ),
    (
        "key twice",
        edit(f"{PAPER}/claims.yaml", "unit: '%'", "unit: '%'\n  unit: pp"),
        "claims toy",
        ("claims.yaml", "the key unit is given twice"),
    ),
    ("no YAML", put(f"{PAPER}/claims.yaml", "- id: [\n"), "list", ("claims.yaml is not valid YAML",)),
    ("lock", put(f"{PAPER}/claims.lock", "{"), "claims toy", ("claims.lock is damaged",)),
    (
        "lock of another kind",
        put(f"{PAPER}/claims.lock", "[1]"),
        "claims toy",
        ("claims.lock is damaged", "git checkout"),
    ),
    (
        "measures that cannot be read",
        put(f"{PAPER}/measures.py", "def per_run(:\n"),
        "claims toy",
        ("measures.py cannot be loaded, line 1", "Mend that line"),
    ),
    (
        "per_run fails",
        put(f"{PAPER}/measures.py", "def per_run(trace, accuracy):\n    return {'x': trace['y']}\n"),
        "claims toy",
        ("per_run of papers/toy/measures.py", "line 2: KeyError: 'y'"),
    ),
    (
        "per_run gives a text",
        put(f"{PAPER}/measures.py", "def per_run(trace, accuracy):\n    return {'x': 'high'}\n"),
        "claims toy",
        ("x = 'high'", "must give numbers"),
    ),
    (
        "a measure fails",
        both(
            MEASURE, put(f"{PAPER}/measures.py", "def mine(rows):\n    return 1 / 0\n\n\nMEASURES = {'mine': mine}\n")
        ),
        "claims toy",
        ("measure mine of claim C1 failed", "line 2: ZeroDivisionError"),
    ),
    (
        "a measure gives none",
        both(MEASURE, put(f"{PAPER}/measures.py", "MEASURES = {'mine': lambda rows: None}\n")),
        "claims toy",
        ("measure mine of claim C1 failed", "NoneType"),
    ),
]

RUNS: list[Case] = [
    (
        "trace lacks arrays",
        trace(bits=None, seen=None),
        "claims toy",
        ("trace.npz is damaged (it lacks seen, bits)", "mv "),
    ),
    (
        "trace of two lengths",
        trace(bits=np.zeros((2, 1), np.uint8)),
        "figures toy",
        ("trace.npz is damaged", "do not fit each other"),
    ),
    (
        "trace is a text",
        both(put("x", ""), cut("RUN/trace.npz", 0), gone("runs/.cache")),
        "figures toy",
        ("trace.npz is damaged", "mv "),
    ),
    (
        "spec edited",
        edit("RUN/spec.json", '"lr": 0.05', '"lr": 0.5'),
        "show finetune-digits-s0",
        ("spec.json is damaged", "gave the run its id"),
    ),
    (
        "spec of another shape",
        lambda p: (p.run / "spec.json").write_text("[]"),
        "show finetune-digits-s0",
        ("spec.json is damaged (it is no mapping)",),
    ),
    (
        "no provenance",
        gone("RUN/provenance.json"),
        "show finetune-digits-s0",
        ("provenance.json is damaged (it is missing)",),
    ),
    (
        "no provenance to store",
        gone("RUN/provenance.json"),
        "figures toy",
        ("provenance.json is damaged (it is missing)",),
    ),
    (
        "provenance of another version",
        lambda p: (p.run / "provenance.json").write_text("{}"),
        "figures toy",
        ("it lacks code, versions, host",),
    ),
    (
        "state of another version",
        edit("RUN/status.json", '"done"', '"finished"'),
        "plan toy/one",
        ("status.json is damaged", "Move it away"),
    ),
    (
        "number in quotes",
        edit("RUN/status.json", '"updates": 12', '"updates": "12"'),
        "status toy/one",
        ("status.json is damaged",),
    ),
    ("several runs begin so", None, "show finetune", ("2 runs begin with it", "replicate status all")),
    (
        "file in place of a run",
        lambda p: (name := p.run, shutil.rmtree(name), name.write_text("x")),
        "status toy/one",
        ("status.json", "REPLICATE_RUNS"),
    ),
]

TABLES: list[Case] = [
    (
        "no column",
        both(NO_RUNS, edit(f"{SMOKE}/runs.csv", ",spec,", ",spek,")),
        "claims toy",
        ("runs.csv is damaged (it lacks the column spec)", "git checkout"),
    ),
    (
        "a text in a metric",
        both(NO_RUNS, edit(f"{SMOKE}/runs.csv", ",0.5,", ",high,")),
        "claims toy",
        ("runs.csv is damaged", "holds a text"),
    ),
    (
        "a run twice",
        both(
            NO_RUNS,
            lambda p: (
                (p.results / "runs.csv").open("a").write((p.results / "runs.csv").read_text().splitlines()[1] + "\n")
            ),
        ),
        "claims toy",
        ("runs.csv is damaged", "is there twice"),
    ),
    (
        "a merge that failed",
        both(
            NO_RUNS,
            lambda p: (p.results / "runs.csv").write_text("<<<<<<< HEAD\n" + (p.results / "runs.csv").read_text()),
        ),
        "claims toy",
        ("runs.csv is damaged", "no table with a column run_id"),
    ),
    (
        "a folder",
        both(gone(f"{SMOKE}/runs.csv"), lambda p: (p.results / "runs.csv").mkdir()),
        "claims toy",
        ("runs.csv is damaged", "directory"),
    ),
    (
        "points cut short",
        both(NO_RUNS, cut(f"{SMOKE}/curves.parquet", 100)),
        "figures toy",
        ("curves.parquet is damaged", "git checkout"),
    ),
    (
        "points cut short, runs there",
        cut(f"{SMOKE}/curves.parquet", 100),
        "figures toy",
        ("curves.parquet is damaged",),
    ),
    ("no points", both(NO_RUNS, cut(f"{SMOKE}/curves.parquet", 0)), "figures toy", ("curves.parquet is damaged",)),
    (
        "provenance",
        put(f"{SMOKE}/provenance.csv", "run_id\n1\n"),
        "plan toy",
        ("provenance.csv is damaged", "it lacks the column updates"),
    ),
    (
        "results are a file",
        both(gone("results"), put("results", "x")),
        "figures toy",
        ("Cannot write", "REPLICATE_RESULTS"),
    ),
]

FIGURES: list[Case] = [
    ("no such figure", None, f"show {SMOKE}/dot.png", ("There is no file", "Did you mean 'dots.png'?")),
    ("no such table", None, f"show {SMOKE}/end.md", ("There is no file", "Did you mean 'ends.md'?")),
    (
        "PNG cut short",
        cut(f"{SMOKE}/dots.png", 3000),
        f"show {SMOKE}/dots.png",
        ("changed or cut short", "replicate figures toy --tier smoke"),
    ),
    (
        "PNG saved anew",
        lambda p: Image.open(p.results / "dots.png").save(p.results / "dots.png"),
        f"show {SMOKE}/dots.png",
        ("does not say where it came from",),
    ),
    (
        "PDF cut short",
        lambda p: cut(f"{SMOKE}/dots.pdf", (p.results / "dots.pdf").stat().st_size - 40)(p),
        f"show {SMOKE}/dots.pdf",
        ("dots.pdf",),
    ),  # type: ignore[misc]
    (
        "CSV edited",
        put(f"{SMOKE}/ends.csv", "seed,points\n0,999\n"),
        f"show {SMOKE}/ends.csv",
        ("ends.csv was changed", "replicate figures toy --tier smoke"),
    ),
    (
        "Markdown edited",
        edit(f"{SMOKE}/ends.md", "| 0 |", "| 7 |"),
        f"show {SMOKE}/ends.md",
        ("ends.md was changed", "replicate figures toy"),
    ),
    (
        "Markdown is no text",
        put(f"{SMOKE}/ends.md", b"\xff\xfe"),
        f"show {SMOKE}/ends.md",
        ("does not say where it came from",),
    ),
    (
        "verdicts edited",
        edit(f"{SMOKE}/verdicts.md", "it learns", "it learns well"),
        f"show {SMOKE}/verdicts.md",
        ("verdicts.md was changed",),
    ),
    ("note edited", put("x.md", "x\n<!-- replicate: {broken -->\n"), "show x.md", ("does not say where it came from",)),
    ("something else", None, "show papers/toy/claims.yaml", ("does not say where it came from",)),
    (
        "code that cannot be read",
        put(f"{PAPER}/figures.py", "def x(:\n"),
        "figures toy",
        ("figures.py cannot be loaded, line 1",),
    ),
    (
        "code that imports what is not there",
        put(f"{PAPER}/figures.py", "import nothing_here\n"),
        "figures toy",
        ("figures.py", "line 1", "nothing_here"),
    ),
    ("no FIGURES", put(f"{PAPER}/figures.py", "X = 1\n"), "figures toy", ("has no FIGURES", "FIGURES = {}")),
    (
        "of a spec that is not there",
        edit(f"{PAPER}/figures.py", '("one",), "Acc', '("onne",), "Acc'),
        "figures toy",
        ("dots: toy has no spec 'onne'", "Did you mean 'one'?"),
    ),
]

DATA: list[Case] = [
    (
        "empty folder",
        lambda p: (p.root / "data" / "mine").mkdir(),
        "plan toy/one data=mine",
        ("no data set 'mine'", "train-*.parquet", "train/CLASS/*.png"),
    ),
    ("other capitals", folder(), "plan toy/one data=Mine", ("no data set 'Mine'", "Did you mean 'mine'?")),
    ("no test", folder(test=0), "plan toy/one data=mine", ("no test/<class>/", "Add the test pictures")),
    ("class of the test alone", folder(test=7), "plan toy/one data=mine", ("classes without training pictures: c6",)),
    (
        "too few classes",
        folder(classes=2),
        "plan toy/one data=mine",
        ("needs 6 classes", "mine has 2", "Lower one of the two"),
    ),
    (
        "no picture",
        both(folder(), put(MINE, "no picture")),
        "plan toy/one data=mine",
        ("x.png", "no readable picture", "Replace or remove it"),
    ),
    ("empty picture", both(folder(), put(MINE, "")), "plan toy/one data=mine", ("x.png", "no readable picture")),
    ("picture of another size", both(folder(), put(MINE, picture(9))), "plan toy/one data=mine", ("9", "8")),
    (
        "web page for parquet",
        both(shards(), put(SHARD, "<html>404</html>")),
        "plan toy/one data=mine",
        ("train-00000-of-00001.parquet", "web page", "replicate data get"),
    ),
    ("parquet cut short", both(shards(), cut(SHARD, 200)), "plan toy/one data=mine", ("no whole parquet file",)),
    (
        "parquet of other columns",
        shards(columns=("pic", "label")),
        "plan toy/one data=mine",
        ("columns 'image' and 'label' are needed", "pic"),
    ),
    (
        "labels are texts",
        shards(labels=["cat"] * 12),
        "plan toy/one data=mine",
        ("column 'label' should hold whole numbers",),
    ),
    ("labels below zero", shards(labels=[-1] * 12), "plan toy/one data=mine", ("label", "-1")),
    (
        "pictures without bytes",
        shards(pictures=[{"bytes": None, "path": "x"}] * 12),
        "plan toy/one data=mine",
        ("no picture bytes",),
    ),
    (
        "a shard is missing",
        both(shards(), lambda p: (p.root / SHARD).rename(p.root / SHARD.replace("of-00001", "of-00002"))),
        "plan toy/one data=mine",
        ("shards 00001 of 2 of 'train' are missing",),
    ),
    (
        "half of MNIST",
        put("data/MNIST/raw/train-images-idx3-ubyte", "x"),
        "plan toy/one data=mnist",
        ("is incomplete", "t10k-labels-idx1-ubyte missing", "replicate data get"),
    ),
]

TIME = "time: '1:00:00'\n"
PROFILES: list[Case] = [
    (name, put("mine.yaml", content), "run toy/two --on slurm --profile mine.yaml --dry-run", words)
    for name, content, words in (
        ("unknown key", TIME + "gpu: 1\n", ("mine.yaml", "'gpu' is no key", "Did you mean 'gpus'?")),
        ("wrong type", TIME + "cpus: many\n", ("cpus is 'many'", "int")),
        ("time without quotes", "time: 12:00\n", ("time is 720", "Put times in quotes")),
        ("no YAML", "time: [\n", ("mine.yaml cannot be read",)),
        ("empty", "", ("mine.yaml is None", "mapping with: time")),
        ("no text", b"\xff\xfe", ("mine.yaml cannot be read",)),
    )
]
GROUPS = {"words": WORDS, "spec": SPECS, "selection": SELECTION, "claim": CLAIMS, "run": RUNS, "table": TABLES,
          "figure": FIGURES, "data": DATA, "profile": PROFILES}  # fmt: skip
CASES = [pytest.param(*case[1:], id=f"{group}: {case[0]}") for group, cases in GROUPS.items() for case in cases]


@pytest.mark.parametrize(("harm", "typed", "expected"), CASES)
def test_what_is_wrong_is_said_and_nothing_stored_changes(
    harm: Harm, typed: str, expected: tuple[str, ...], project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    if harm:
        harm(project)
    before = contents(project.root)
    assert main(typed.split()) == 1
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert "fault of replicate" not in err, err
    assert err.startswith("error: "), err
    for words in expected:
        assert words in err, f"{words!r} is not in:\n{err}"
    assert contents(project.root) == before


def test_a_machine_without_slurm(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("mine.yaml", TIME)(project)  # type: ignore[misc]
    monkeypatch.setenv("PATH", "")
    before = contents(project.root)
    assert main(["run", "toy/two", "--on", "slurm", "--profile", "mine.yaml"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "SLURM" in err
    assert "fault of replicate" not in err
    assert contents(project.root) == before


def test_the_tables_are_the_same_bytes_with_and_without_the_kept_metrics(project: Project) -> None:
    before = contents(project.root / "results")
    assert main(["figures", "toy"]) == 0
    shutil.rmtree(project.root / "runs" / ".cache")
    assert main(["figures", "toy"]) == 0
    assert contents(project.root / "results") == before
