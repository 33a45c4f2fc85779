"""The stored figures and tables of a paper at a tier, each with the note of where it came from."""

import base64
import csv
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.drawings import Figure, declared
from common.errors import Problem
from common.files import sha256_bytes
from common.page.rows import slug
from common.stamp import origin
from common.table import digest


@dataclass(frozen=True)
class Runs:
    """Runs, and by what they were made: versions of the code, of torch, kinds of device; seconds of all of them."""

    ids: list[str]
    code: list[str]
    torch: list[str]
    devices: list[str]
    seconds: float


@dataclass(frozen=True)
class Item:
    """A figure (image: the stored file as a data address, width and height in pixels) or a table (lines: its header first).

    note: see common/drawings.py. moved: what no longer fits, "" when everything does.
    """

    id: str
    note: dict[str, Any]
    runs: Runs
    moved: str
    image: str = ""
    width: int = 0
    height: int = 0
    lines: list[list[str]] = field(default_factory=list)


def items_of(paper: str, folder: Path, spec: str = "") -> list[Item]:
    """What is stored of the paper's figures and tables in the order of its figures.py; of a spec, what shows its runs.

    Errors: one Problem that names every file without a note.
    """
    made, table = _provenance(folder), digest(folder)
    found, wrong = [], []
    for name, item in declared(paper).items():
        shown = (*item.needs, *item.also)
        path = folder / f"{name}{'.png' if isinstance(item, Figure) else '.csv'}"
        if path.exists() and (not spec or spec in shown):
            try:
                found.append(_item(path, made, table))
            except Problem as problem:
                wrong += problem.messages
    if wrong:
        raise Problem(*wrong)
    return found


def runs_of(folder: Path) -> Runs:
    """All runs stored in a folder of results."""
    made = _provenance(folder)
    return _runs(sorted(made), made)


def _item(path: Path, made: dict[str, dict[str, str]], table: str) -> Item:
    note, content = origin(path), path.read_bytes()
    moved = [f"the stored tables ({table})"] if note["table"] != table else []
    place = slug("f", note["paper"], note["tier"], path.stem)
    runs = _runs(note["runs"], made)
    if path.suffix == ".png":
        width, height = struct.unpack(">II", content[16:24])  # where every PNG has them
        image = "data:image/png;base64," + base64.b64encode(content).decode()
        return Item(place, note, runs, " and ".join(moved), image, width, height)
    moved += ["its own note: it was changed by hand"] if note.get("csv") != sha256_bytes(content)[:16] else []
    lines = list(csv.reader(content.decode().splitlines()))
    return Item(place, note, runs, " and ".join(moved), lines=lines)


def _runs(ids: Sequence[str], made: dict[str, dict[str, str]]) -> Runs:
    known = [made[name] for name in ids if name in made]

    def each(column: str) -> list[str]:
        return sorted({row[column] for row in known if row.get(column)})

    seconds = sum(float(row["seconds"]) for row in known if row.get("seconds"))
    return Runs(list(ids), each("code"), each("torch"), each("device"), seconds)


def _provenance(folder: Path) -> dict[str, dict[str, str]]:
    """run id -> its row of provenance.csv; empty where none is stored."""
    path = folder / "provenance.csv"
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        return {row["run_id"]: row for row in csv.DictReader(file)}
