"""Which stored figures, tables and verdicts no longer fit what they were made from."""

from pathlib import Path
from typing import Any

from common.asked import folder_of
from common.drawings import Figure, declared, note, verdicts_note
from common.errors import Problem
from common.files import read_json, sha256_file
from common.stamp import origin
from common.stored import stored_runs
from common.table import Tables

_INPUTS = {
    "table": "the stored tables",
    "code": "the drawing code",
    "claims": "claims.yaml",
    "measures": "the code of the measures",
    "rules": "the code of the verdicts",
}


def stale(paper: str, tier: str) -> list[str]:
    """A sentence for each stored figure, table or verdict that no longer fits the tables, its code or claims.yaml."""
    folder = folder_of(paper, tier)
    runs = stored_runs(folder)
    if runs is None:
        return []
    tables, items = Tables(runs, folder), declared(paper)
    sentences = []
    for name, item in items.items():
        if set(item.needs) <= set(runs["spec"]):
            now = note(paper, name, item, tables)
            for ending in (".png", ".pdf") if isinstance(item, Figure) else (".md", ".csv"):
                sentences += _moved(folder / f"{name}{ending}", now, ("table", "code", "claims"))
    known = {*items, "verdicts", "runs", "provenance"}
    found = sorted(p for ending in ("png", "pdf", "csv", "md") for p in folder.glob(f"*.{ending}"))
    sentences += [f"{p} is made by no function of papers/{paper}/figures.py" for p in found if p.stem not in known]
    return sentences + _verdicts(paper, tables)


def _moved(path: Path, now: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    """The sentence on a file whose note differs from what it would be `now`."""
    if not path.exists():
        return [f"{path} is missing; make it: {now['command']}"]
    try:
        then = origin(path)
    except Problem as problem:
        return problem.messages
    if path.suffix == ".csv" and then.get("csv") != sha256_file(path)[:16]:
        return [f"{path} was changed by hand; make it again: {now['command']}"]
    return _older(path, then, now, keys)


def _older(path: Path, then: dict[str, Any], now: dict[str, Any], keys: tuple[str, ...]) -> list[str]:
    moved = [_INPUTS[key] for key in keys if then.get(key) != now.get(key)]
    return [f"{path} is older than {' and '.join(moved)}; make it again: {now['command']}"] if moved else []


def _verdicts(paper: str, tables: Tables) -> list[str]:
    now, path = verdicts_note(paper, tables), tables.folder / "verdicts.json"
    keys = ("table", "claims", "measures", "rules")
    if not path.exists():
        return [f"{path} is missing; make it: {now['command']}"] if now["claims"] else []
    return _older(path, read_json(path), now, keys) + _moved(path.with_suffix(".md"), now, keys)
