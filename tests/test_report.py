"""Figures that know their inputs, the same bytes on every making, and what is stale."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from common import drawings, places, readme, report, stamp
from common.asked import Asked
from common.errors import Problem
from common.table import Tables
from tests.made_up_tables import made_up_tables

PAPER = "stability_gap"
ROWS = [
    {
        "paper": PAPER, "claim": "C1", "says": "a drop", "source": "Table 1", "mark": "verified", "tier": "smoke",
        "verdict": "direction holds", "expect": "holds", "as_expected": True, "reported": None, "measured": 30.9,
        "interval": [23.4, 38.5], "seeds": [0, 1], "values": [23.4, 38.5], "n_seeds": 2, "unit": "pp", "p_value": 0.25,
        "rule": "at least 15 pp", "note": "", "run_ids": ["made-up"], "deviations": [],
    }
]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results folder with everything made once at a made-up tier smoke."""
    results = tmp_path_factory.mktemp("results")
    tables = made_up_tables(results / PAPER / "smoke", tasks=2)
    paths = report.make(PAPER, tables, ROWS, quiet=True)
    return results, tables, [Path(p) for p in paths]


@pytest.fixture
def copy(made, tmp_path, monkeypatch):
    """A copy of those results that a test may spoil."""
    shutil.copytree(made[0], tmp_path / "results")
    monkeypatch.setenv("REPLICATE_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results" / PAPER / "smoke"


def test_everything_declared_is_made(made):
    _, tables, paths = made
    names = drawings.declared(PAPER)
    assert {p.stem for p in paths} == {*names, "verdicts"}
    figures = [name for name, item in names.items() if isinstance(item, drawings.Figure)]
    assert all((tables.folder / f"{name}{end}").exists() for name in figures for end in (".png", ".pdf"))


@pytest.mark.parametrize("file", ["er.png", "er.pdf", "table1.md", "table1.csv", "verdicts.md"])
def test_a_file_says_where_it_came_from(made, file):
    _, tables, _ = made
    note = stamp.origin(tables.folder / file)
    assert (note["paper"], note["tier"], note["table"]) == (PAPER, "smoke", tables.digest)
    assert note["command"] == "replicate figures stability_gap --tier smoke"
    if file != "verdicts.md":
        assert note["data"] == ["Dots (JPEG copies)"]
        assert note["runs"] == sorted(tables.where(spec="er")["run_id"])


def test_png_pdf_and_show_agree(made):
    from common import verbs

    _, tables, _ = made
    png, pdf = (stamp.origin(tables.folder / f"gradients{end}") for end in (".png", ".pdf"))
    assert png == pdf == verbs.show(str(tables.folder / "gradients.png"))


def test_files_without_a_note_are_refused(tmp_path):
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    (tmp_path / "plain.pdf").write_bytes(b"%PDF-1.4\n")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "plain.csv").write_text("a,b\n")
    for name in ("plain.png", "plain.pdf", "broken.png", "plain.csv"):
        with pytest.raises(Problem, match="does not say where it came from"):
            report.origin(tmp_path / name)
    with pytest.raises(Problem, match="There is no file"):
        report.origin(tmp_path / "absent.png")


def test_a_note_survives_every_container(made, tmp_path):
    from matplotlib.figure import Figure as Canvas

    odd = {"name": "odd", "about": "(paren\\theses) – ünïcode -- \n two lines -->", "runs": ["a(b", "c)d\\"]}
    (tmp_path / "a.png").write_bytes(stamp.png(Canvas((1, 1)), odd))
    (tmp_path / "a.pdf").write_bytes(stamp.pdf(Canvas((1, 1)), odd))
    (tmp_path / "a.md").write_bytes(stamp.markdown("text", odd))
    for end in ("png", "pdf", "md"):
        assert report.origin(tmp_path / f"a.{end}") == odd


def test_making_again_touches_nothing_and_gives_the_same_bytes(made, copy):
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in copy.iterdir()}
    tables = Tables(made[1].runs, copy)
    report.make(PAPER, tables, ROWS, quiet=True)
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in copy.iterdir()} == before


def test_dates_hosts_and_folders_are_in_no_file(made):
    results, _, paths = made
    for path in paths:
        raw = path.read_bytes()
        assert str(results).encode() not in raw, path
        assert b"CreationDate" not in raw, path
        assert b"Matplotlib v" not in raw, path


def test_lacking_runs_are_said_and_skipped(made, copy, capsys, monkeypatch):
    (copy / "gradients.png").unlink()
    whole = drawings.declared(PAPER)
    two = replace(whole["er"], needs=("er", "absent"))
    monkeypatch.setattr(report, "declared", lambda paper: {**whole, "two": two})
    few = Tables(made[1].where(spec="er"), copy)
    paths = report.make(PAPER, few, ROWS, quiet=False)
    assert {Path(p).stem for p in paths} >= {"er", "table1"}
    assert not {"gradients", "two"} & {Path(p).stem for p in paths}
    said = capsys.readouterr().err
    assert "not made: two: no runs of absent at tier smoke" in said
    assert "gradients" not in said  # none of its runs was asked for
    report.make(PAPER, few, ROWS, quiet=True)
    assert capsys.readouterr().err == ""


def test_a_figure_that_lacks_a_column_is_no_failure_of_a_request_of_ones_own(made, copy, monkeypatch, capsys):
    figure = drawings.Figure(
        lambda tables: tables.runs["learner.mask"], ("er",), "needs a setting of the paper's learner"
    )
    monkeypatch.setattr(report, "declared", lambda paper: {"masks": figure})
    own = copy.with_name("smoke@er,learner.name=mine.Own")
    shutil.copytree(copy, own)
    assert report.make(PAPER, Tables(made[1].runs, own), [], quiet=False) == []
    assert capsys.readouterr().err == "not made: masks: the runs asked for have no 'learner.mask', which it shows\n"
    with pytest.raises(Problem, match=r"masks could not be made: KeyError: 'learner\.mask'"):
        report.make(PAPER, Tables(made[1].runs, copy), [], quiet=True)


def test_one_broken_figure_costs_no_other(made, copy, monkeypatch):
    def broken(tables):
        raise ZeroDivisionError("by design")

    items = drawings.declared(PAPER)
    first = {"aaa": drawings.Figure(broken, ("er",), "broken"), "er": items["er"]}
    monkeypatch.setattr(report, "declared", lambda paper: first)
    (copy / "er.png").unlink()
    with pytest.raises(Problem, match="aaa could not be made: ZeroDivisionError: by design"):
        report.make(PAPER, Tables(made[1].runs, copy), ROWS, quiet=True)
    assert (copy / "er.png").exists()


def test_stored_tables_are_read_back_and_their_absence_is_said(made, copy):
    assert len(report.stored(PAPER, "smoke").runs) == len(made[1].runs)
    with pytest.raises(Problem, match="No results of stability_gap are stored at tier full"):
        report.stored(PAPER, "full")


def test_fresh_results_are_not_stale(copy):
    assert report.stale(PAPER, "smoke") == []
    assert report.stale(PAPER, "full") == []  # nothing is stored there


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda f: (f / "runs.csv").write_text((f / "runs.csv").read_text() + "\n"),
            "er.png is older than the stored tables",
        ),
        (lambda f: (f / "curves.parquet").write_bytes(b"other"), "er.png is older than the stored tables"),
        (lambda f: (f / "er.pdf").unlink(), "er.pdf is missing"),
        (lambda f: (f / "old.png").write_bytes(b""), "old.png is made by no function"),
        (lambda f: (f / "table2.csv").write_text("degrees\n"), "table2.csv was changed by hand"),
        (lambda f: (f / "er.png").write_bytes(b"painted"), "er.png does not say where it came from"),
        (lambda f: (f / "verdicts.md").unlink(), "verdicts.md is missing"),
    ],
)
def test_what_moved_is_found(copy, spoil, says):
    spoil(copy)
    assert any(says in sentence for sentence in report.stale(PAPER, "smoke")), report.stale(PAPER, "smoke")


def test_changed_code_and_claims_are_found(copy, monkeypatch, tmp_path):
    root = tmp_path / "root"
    for path in ("common", f"papers/{PAPER}"):
        shutil.copytree(places.ROOT / path, root / path, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(drawings, "ROOT", root)
    assert report.stale(PAPER, "smoke") == []
    with (root / "papers" / PAPER / "figures.py").open("a") as file:
        file.write("# another colour\n")
    found = report.stale(PAPER, "smoke")
    assert any("er.png is older than the drawing code" in s for s in found)
    assert not any("verdicts" in s for s in found)
    with (root / "papers" / PAPER / "claims.yaml").open("a") as file:
        file.write("# another bound\n")
    assert any("verdicts.json is older than claims.yaml" in s for s in report.stale(PAPER, "smoke"))


def test_changed_rules_make_the_verdicts_stale_and_no_figure(copy, monkeypatch):
    monkeypatch.setattr(
        drawings.imported, "digest", lambda *modules: "other" if modules == ("common.verdicts",) else "same"
    )
    monkeypatch.setattr(drawings, "measures_version", lambda paper: stamp.origin(copy / "verdicts.md")["measures"])
    (found, *more) = report.stale(PAPER, "smoke")
    assert "verdicts.json is older than the code of the verdicts" in found
    assert all("verdicts.md" in sentence for sentence in more)


def test_a_command_names_its_overrides(made, tmp_path):
    asked = Asked(PAPER, (("learner.alpha", 0.7), ("model.hidden", [10, 20])), (7, 8))
    folder = tmp_path / f"small@{asked.label}"
    shutil.copytree(made[1].folder, folder)
    (folder / "request.json").write_text(json.dumps({"asked": asked.words}))
    note = drawings.verdicts_note(PAPER, Tables(made[1].runs, folder))
    assert note["command"] == (
        "replicate figures stability_gap --seeds 7,8 learner.alpha=0.7 model.hidden=[10,20] --tier small"
    )


def test_readme_blocks_hold_the_stored_verdicts(copy, tmp_path):
    root = tmp_path / "root"
    (root / "papers" / PAPER / "specs").mkdir(parents=True)
    paths = [root / "README.md", root / "papers" / PAPER / "README.md"]
    for path in paths:
        path.write_text(f"# Title\n\n{readme.BEGIN}\nwhat stood here\n{readme.END}\nafter\n")
    (root / "papers" / "README.md").write_text("no markers")
    assert len(report.readme_blocks_stale(root)) == 2
    assert report.write_readmes(root) == [str(p) for p in paths]
    for path in paths:
        text = path.read_text()
        assert "| C1 | a drop |" in text
        assert "what stood here" not in text
        assert text.startswith("# Title")
        assert text.endswith("after\n")
    assert report.readme_blocks_stale(root) == []
    assert report.write_readmes(root) == []
    report.store_verdicts(PAPER, Tables(_runs(copy), copy), [ROWS[0] | {"verdict": "fails", "as_expected": False}])
    assert len(report.readme_blocks_stale(root)) == 2


def test_readme_files_without_markers_are_left_alone(copy, tmp_path):
    (tmp_path / "README.md").write_text("# Title\n")
    assert report.write_readmes(tmp_path) == []
    assert (tmp_path / "README.md").read_text() == "# Title\n"


def test_a_claim_that_no_tier_judges_still_shows(copy):
    silent = ROWS[0] | {
        "claim": "C14",
        "rule": "",
        "verdict": "not run at this tier",
        "measured": None,
        "interval": None,
    }
    elsewhere = ROWS[0] | {"rule": "", "verdict": "not run at this tier"}
    report.store_verdicts(PAPER, Tables(_runs(copy), copy), [*ROWS, silent])
    small = copy.with_name("small")
    shutil.copytree(copy, small)
    report.store_verdicts(PAPER, Tables(_runs(small), small), [elsewhere])
    block = readme.verdict_block(PAPER)
    assert block.count("| C1 |") == 1
    assert "| C14 |" in block


def test_the_overview_has_one_line_a_claim_and_marks_what_was_not_expected(copy):
    (row, *_) = ROWS
    told = [row | {"tier": tier, "as_expected": tier == "smoke", "verdict": "fails"} for tier in ("smoke", "small")]
    small = copy.with_name("small")
    shutil.copytree(copy, small)
    for folder, line in zip((copy, small), told, strict=True):
        report.store_verdicts(PAPER, Tables(_runs(folder), folder), [line])
    text = readme.overview_block([PAPER, "absent"])
    fell = "0 hold, 1 fail, 0 undecided"
    assert f"| all | {fell}; 0 unexpected | {fell}; 1 unexpected |" in text
    report.store_verdicts(PAPER, Tables(_runs(small), small), [told[1] | {"verdict": "not run at this tier"}])
    assert f"| all | {fell}; 0 unexpected | -, 1 not run |" in readme.overview_block([PAPER])
    for word, count in (
        ("within", "1 hold, 0 fail"),
        ("above", "0 hold, 1 fail"),
        ("too few seeds to tell", "1 undecided"),
    ):
        report.store_verdicts(PAPER, Tables(_runs(small), small), [told[1] | {"verdict": word}])
        assert count in readme.overview_block([PAPER]), word
    (line,) = [line for line in text.splitlines() if line.startswith("| C1 |")]
    assert line.count("fails") == 2
    assert line.count("**fails**") == 1
    assert readme.overview_block(["absent"]) == readme.NOTHING


def test_committed_results_are_not_stale(monkeypatch):
    """The figures, tables, verdicts and README blocks that lie in the project fit their inputs."""
    results = places.ROOT / "results"
    monkeypatch.setenv("REPLICATE_RESULTS", str(results))
    if not any(results.glob("*/*/runs.csv")):
        pytest.skip("no results are stored yet")
    for runs in results.glob("*/*/runs.csv"):
        if "@" not in runs.parent.name:
            assert report.stale(runs.parent.parent.name, runs.parent.name) == []
    assert report.readme_blocks_stale() == []


def test_drawing_costs_no_import_of_torch():
    import subprocess
    import sys

    code = "import common.report, papers.stability_gap.figures, sys; print({'torch', 'matplotlib'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=places.ROOT)
    assert found.stdout.strip() == "set()"


def _runs(folder):
    import pandas as pd

    return pd.read_csv(folder / "runs.csv")
