"""Where a file in results/ came from, said only after a look at whether it still is what was made."""

import csv
import os
from pathlib import Path
from typing import Any

from common import stamp, table
from common.asked import asked_in
from common.errors import Problem, nearest
from common.files import read_json, sha256_file
from common.stored import stored_provenance, stored_runs

TABLES = {  # made from run folders, without a note of their own
    "runs.csv": "One row a run: settings and metrics.",
    "provenance.csv": "One row a run: seconds, host, device, code, date.",
    "curves.parquet": "Accuracy of each evaluated task at each evaluation.",
    "scalars.parquet": "Gradient norms of each update, where they were recorded.",
    "facts.parquet": "What the analyses found.",
    "verdicts.json": "The verdict on every claim and what it rests on.",
}


def origin(path: Path) -> dict[str, Any]:
    """Runs, digests of table and code, data sets and the command that makes the file again.

    Errors: Problem when there is no such file, when it does not say, or when it was changed or cut short since.
    """
    if not os.path.isfile(path):
        there = [p.name for p in path.parent.iterdir()] if os.path.isdir(path.parent) else []
        raise Problem(
            f"There is no file {path}.{nearest(path.name, there)} Figures lie in results/PAPER/TIER; make them: "
            "replicate figures PAPER."
        )
    if path.name in TABLES:
        return _of_table(path)
    try:
        note = stamp.origin(path)
    except UnicodeDecodeError:
        note = {}
    if not note:
        raise Problem(f"{path} does not say where it came from: it is no text. Make it again: replicate figures PAPER.")
    if not _whole(path, note):
        raise Problem(
            f"{path} was changed or cut short since it was made, so that it may not show what it says. Make it again: "
            f"{note['command']}"
        )
    if note["name"] == "verdicts":
        rows = read_json(path.with_suffix(".json"))["rows"]
        note["runs"] = sorted({run_id for row in rows for run_id in row["run_ids"]})
    return note


def _of_table(path: Path) -> dict[str, Any]:
    """The same of a table that is made from run folders."""
    folder = path.absolute().parent
    runs, took = stored_runs(folder), stored_provenance(folder)
    if runs is None:
        raise Problem(f"{path} lies beside no runs.csv, so it cannot be said which runs it is of.")
    tier = folder.name.partition("@")[0]
    return {
        "paper": folder.parent.name,
        "tier": tier,
        "name": path.stem,
        "about": TABLES[path.name],
        "runs": sorted(runs["run_id"].unique()),
        "table": table.Tables(runs, folder).digest,
        "file": sha256_file(path),
        "code": [] if took is None else sorted(took["code"].astype(str).unique()),
        "command": f"replicate figures {asked_in(folder)} --tier {tier}",
    }


def _whole(path: Path, note: dict[str, Any]) -> bool:
    """Whether a file with a note is all there, and as it was made as far as its note or its neighbour tell."""
    if path.suffix == ".png":
        return _readable(path)
    if path.suffix == ".pdf":
        return path.read_bytes().rstrip().endswith(b"%%EOF")
    if path.suffix == ".csv":
        return bool(note.get("csv") == sha256_file(path)[:16])
    return _text(path, note) in (None, path.read_bytes())


def _readable(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, SyntaxError):  # what Pillow raises for a damaged block is a SyntaxError
        return False
    return True


def _text(path: Path, note: dict[str, Any]) -> bytes | None:
    """What a Markdown file should hold by the file beside it that it is the text of; None where there is none."""
    import pandas as pd

    from common.report import table_as_markdown
    from common.verdict_table import markdown

    verdicts, cells = path.with_suffix(".json"), path.with_suffix(".csv")
    if verdicts.exists():
        return stamp.markdown(markdown(read_json(verdicts)["rows"]), note)
    if not cells.exists():
        return None
    names, *rows = csv.reader(cells.read_text().splitlines())
    frame = pd.DataFrame(rows, columns=names)
    return stamp.markdown(f"{note['about']}\n\n{table_as_markdown(frame)}", note)
