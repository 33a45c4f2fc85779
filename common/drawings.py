"""What a paper draws, and from what: papers/<paper>/figures.py holds FIGURES and TABLES, name -> item."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import imported
from common.asked import asked_in
from common.files import sha256_bytes, sha256_file
from common.places import ROOT
from common.run_metrics import measures_version
from common.table import Tables

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas


@dataclass(frozen=True)
class Figure:
    """make: tables -> matplotlib figure (Problem when they lack what it shows).

    needs: specs whose runs it shows; also: those that it shows where there are any.
    """

    make: "Callable[[Tables], Canvas]"
    needs: tuple[str, ...]
    about: str  # what it shows, and which figure of the paper it answers
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """make: tables -> data frame of texts, as printed. needs, also: as in a figure."""

    make: "Callable[[Tables], pd.DataFrame]"
    needs: tuple[str, ...]
    about: str
    also: tuple[str, ...] = ()


def declared(paper: str) -> dict[str, Figure | Table]:
    """The paper's figures and tables by file name; none where it has no figures.py."""
    if not (ROOT / "papers" / paper / "figures.py").exists():
        return {}
    module = importlib.import_module(f"papers.{paper}.figures")
    return {**module.FIGURES, **getattr(module, "TABLES", {})}


def note(paper: str, name: str, item: Figure | Table, tables: Tables) -> dict[str, Any]:
    """What a figure or table is made from: runs, digests of table and code, data sets, and the command."""
    shown = (*item.needs, *item.also)
    rows = tables.runs[tables.runs["spec"].isin(shown)]
    quoted = {"claims": _claims(paper)} if isinstance(item, Table) else {}  # tables hold the paper's numbers too
    return {
        **_place(paper, tables.folder),
        "name": name,
        "about": item.about,
        "data": data_titles(rows),
        "runs": sorted(rows["run_id"].unique()),
        "table": tables.digest,
        "code": _drawing_code(paper),
        **quoted,
    }


def verdicts_note(paper: str, tables: Tables) -> dict[str, Any]:
    """What verdicts are made from: digests of the tables, of claims.yaml, and of the code that measures and judges."""
    return {
        **_place(paper, tables.folder),
        "name": "verdicts",
        "table": tables.digest,
        "claims": _claims(paper),
        "measures": measures_version(paper),
        "rules": imported.digest("common.verdicts"),
    }


def data_titles(rows: "pd.DataFrame") -> list[str]:
    """Titles of the data sets of those runs; a title names a lossy copy."""
    titles = rows["data_title"].fillna(rows["data"]) if "data_title" in rows else rows["data"]
    return sorted(titles.unique())


def _place(paper: str, folder: Path) -> dict[str, str]:
    """Paper, tier and command of the files in a folder of results."""
    tier = folder.name.partition("@")[0]
    return {"paper": paper, "tier": tier, "command": f"replicate figures {asked_in(folder)} --tier {tier}"}


def _claims(paper: str) -> str:
    """Digest of claims.yaml, "" where a paper has none."""
    path = ROOT / "papers" / paper / "claims.yaml"
    return sha256_file(path)[:16] if path.exists() else ""


def _drawing_code(paper: str) -> str:
    """Digest of every module that decides how a figure or table of the paper looks."""
    common = [ROOT / "common" / f"{name}.py" for name in ("drawings", "report", "stamp", "stats", "style")]
    own = [
        p for p in (ROOT / "papers" / paper).glob("*.py") if p.stem != "__init__" and not p.stem.startswith("measures")
    ]
    return sha256_bytes(b"".join(p.read_bytes() for p in [*common, *sorted(own)]))[:16]
