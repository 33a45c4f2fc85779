"""The notebooks run from the stored results alone, and what they show is what is stored."""

import re

import nbformat
import pytest

from common import notebook
from common.errors import Problem
from common.places import ROOT
from common.report import store_verdicts
from tests.made_up_tables import made_up_tables
from tests.test_report import ROWS

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def texts(book):
    """Markdown and plain outputs of each code cell."""
    found = []
    for cell in book.cells:
        if cell.cell_type == "code":
            data = [output.get("data", {"text/plain": output.get("text", "")}) for output in cell.outputs]
            found.append([d.get("text/markdown") for d in data])
    return found


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_runs_without_runs_data_or_torch_and_is_up_to_date(path, tmp_path, monkeypatch):
    if not any((ROOT / "results" / path.stem).glob("*/runs.csv")):
        pytest.skip("no results are stored yet")
    for variable in ("REPLICATE_RUNS", "REPLICATE_DATA"):
        monkeypatch.setenv(variable, str(tmp_path / "absent"))
    monkeypatch.setenv("REPLICATE_RESULTS", str(ROOT / "results"))
    book = nbformat.read(path, as_version=4)
    book.cells.append(nbformat.v4.new_code_cell("import sys\nassert 'torch' not in sys.modules"))
    nbformat.write(book, tmp_path / path.name)
    fresh = notebook.executed(tmp_path / path.name)
    again = f"the outputs of {path.name} are not those of the stored results: python -m common.notebook"
    assert texts(fresh)[:-1] == texts(nbformat.read(path, as_version=4)), again


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_clean_and_types_no_finding(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    raw = path.read_text()
    assert not re.search(r"/home/|/root|/Users/|/tmp/|site-packages", raw)
    assert str(ROOT) not in raw
    assert "iopub" not in raw  # times of execution
    sources = [cell.source for cell in book.cells if cell.cell_type == "code"]
    assert sources[0].startswith("TIER = ")
    prose = "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")
    assert not re.search(r"\d\s*(%|pp\b|percent)|\d\.\d", re.sub(r"`[^`]*`", "", prose))
    shown = [cell for cell in book.cells if cell.cell_type == "code" and "view." in cell.source]
    assert shown
    assert all(cell.outputs for cell in shown)


def commands():
    prose = [c.source for p in NOTEBOOKS for c in nbformat.read(p, as_version=4).cells if c.cell_type == "markdown"]
    return sorted(set(re.findall(r"`(replicate (?:run|plan) [^`]*)`", "\n".join(prose))))


@pytest.mark.parametrize("command", commands())
def test_the_commands_of_the_notebooks_are_accepted(command, capsys):
    """Planned instead of run: the same words are resolved and refused in the same way."""
    from common.cli import main

    assert main([*command.replace("replicate run", "plan").split(), "--json"]) == 0, capsys.readouterr().err


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    monkeypatch.setenv("REPLICATE_RESULTS", str(tmp_path))
    tables = made_up_tables(tmp_path / "stability_gap" / "smoke", tasks=2)
    store_verdicts("stability_gap", tables, ROWS)
    return tables


def test_a_view_takes_smoke_where_the_tier_is_not_stored(made_up, monkeypatch):
    told = []
    monkeypatch.setattr(notebook, "_show", told.append)
    view = notebook.View("stability_gap", "small")
    assert view.tier == "smoke"
    assert "smoke" in told[0]
    assert "Dots (JPEG copies)" in told[0]
    view.verdicts("C1")
    assert "**direction holds**: C1. All as expected." in told[-1]
    view.table("table5")
    assert "| min-ACC | 50.8 ± 8.7 |" in told[-1]
    view.origin("er")
    assert "replicate figures stability_gap --tier smoke" in told[-1]


def test_a_view_refuses_unknown_names_with_the_nearest(made_up, monkeypatch):
    monkeypatch.setattr(notebook, "_show", lambda text: None)
    view = notebook.View("stability_gap", "smoke")
    with pytest.raises(Problem, match="Did you mean 'rotation'"):
        view.figure("rotations")
    with pytest.raises(Problem, match="no verdict on 'C99'"):
        view.verdicts("C99")


def test_lacking_runs_are_said_in_the_notebook(made_up, monkeypatch):
    told = []
    monkeypatch.setattr(notebook, "_show", told.append)
    view = notebook.View("stability_gap", "smoke")
    view.tables.runs = view.tables.where(spec="er")
    view.figure("gradients")
    assert "no runs of gradients are stored at tier smoke" in told[-1]


def test_verdicts_are_summed_up_by_word_and_unexpected_ones_are_named():
    given = [("A", "fails", True, "at most 1"), ("B", "fails", False, "at least 1"), ("D", "within", True, "reported")]
    given.append(("C", "not run at this tier", True, ""))  # no rule for this tier: not counted
    rows = [{"claim": c, "verdict": v, "as_expected": e, "rule": r} for c, v, e, r in given]
    assert notebook.summed_up(rows) == "**fails**: A, B; **within**: D. Not as expected: B."
    assert notebook.summed_up(rows[:1]) == "**fails**: A. All as expected."
    assert notebook.summed_up(rows[3:]) == "No claim here is judged at this tier."


def test_renewing_writes_the_outputs_in_place(tmp_path):
    path = tmp_path / "tiny.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1")]), path)
    notebook.main([str(path)])
    (cell,) = nbformat.read(path, as_version=4).cells
    assert cell.outputs[0]["data"]["text/plain"] == "2"
    assert not cell.metadata
