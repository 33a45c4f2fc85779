"""Every committed figure and table says where it came from, and the command that it names makes it again to the byte."""

import shutil
from pathlib import Path

import pytest

from common import origins, places, report
from common.cli import main
from common.drawings import Figure, declared, note
from common.stored import stored_runs

RESULTS = places.ROOT / "results"
FOLDERS = sorted(p.parent for p in RESULTS.glob("*/*/runs.csv"))


def command_of(folder: Path) -> str:
    return f"replicate figures {folder.parent.name} --tier {folder.name}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_every_committed_file_says_where_it_came_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_RESULTS", str(RESULTS))
    digest, known = report.stored(folder.parent.name, folder.name).digest, set(stored_runs(folder)["run_id"])  # type: ignore[index]
    kept = stored_runs
    tables = {folder: kept(folder)}
    monkeypatch.setattr(origins, "stored_runs", lambda where: tables[folder] if where.samefile(folder) else kept(where))
    for path in sorted(folder.iterdir()):
        said = origins.origin(path)
        assert (said["paper"], said["tier"], said["command"]) == (folder.parent.name, folder.name, command_of(folder))
        assert said["table"] == digest, path
        assert said["runs"], path
        assert set(said["runs"]) <= known, path
        assert said.get("code") or said.get("measures"), path


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_png_and_pdf_say_the_same_and_what_they_would_say_now(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_RESULTS", str(RESULTS))
    tables = report.stored(folder.parent.name, folder.name)
    for name, item in declared(folder.parent.name).items():
        if isinstance(item, Figure) and (folder / f"{name}.png").exists():
            now = note(folder.parent.name, name, item, tables)
            assert origins.origin(folder / f"{name}.png") == origins.origin(folder / f"{name}.pdf") == now


@pytest.mark.parametrize("paper", sorted({p.parent.name for p in FOLDERS}))
def test_the_command_makes_them_again(paper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each paper at smoke the smallest figure and one table; nothing but the stored tables is there."""
    before = RESULTS / paper / "smoke"
    shutil.copytree(before, tmp_path / "results" / paper / "smoke")
    copy = tmp_path / "results" / paper / "smoke"
    pngs = [copy / f"{name}.png" for name, item in declared(paper).items() if isinstance(item, Figure)]
    figure = min((p for p in pngs if p.exists()), key=lambda p: p.stat().st_size)
    tables = sorted((p for p in copy.glob("*.md") if p.with_suffix(".csv").exists()), key=lambda p: p.stat().st_size)
    said = origins.origin(figure)["command"]
    made = [figure, figure.with_suffix(".pdf"), copy / "verdicts.md"]
    made += [path for cells in tables[:1] for path in (cells, cells.with_suffix(".csv"))]
    names = {path.stem for path in made}
    for path in made:
        path.unlink()
    monkeypatch.setattr(report, "declared", lambda paper: {k: v for k, v in declared(paper).items() if k in names})
    assert main(said.split()[1:]) == 0
    for path in made:
        assert path.read_bytes() == (before / path.name).read_bytes(), path
