"""The verdict tables inside README files, between markers, from the stored verdicts."""

from pathlib import Path
from typing import Any

from common.files import read_json, write_atomic
from common.places import ROOT, results_dir
from common.verdict_table import markdown

BEGIN, END = "<!-- verdicts:begin -->", "<!-- verdicts:end -->"
TIERS = ("smoke", "small", "full")
OVERVIEW = ("smoke", "small")  # what anyone can run; the cluster's tier is in the papers' own README files


def write_readmes(root: Path = ROOT) -> list[str]:
    """Paths of the README files whose verdict table was renewed; files without markers are left alone."""
    renewed = {path: text for path, text in _renewed(root).items() if text != path.read_text()}
    for path, text in renewed.items():
        write_atomic(path, text)
    return [str(path) for path in renewed]


def readme_blocks_stale(root: Path = ROOT) -> list[str]:
    """A sentence for each README file whose verdict table differs from the stored verdicts."""
    return [
        f"The verdicts in {path.relative_to(root)} are not the stored ones; renew them: replicate claims all --write"
        for path, text in _renewed(root).items()
        if text != path.read_text()
    ]


def stored_verdicts(paper: str, tier: str) -> list[dict[str, Any]]:
    """The rows of results/<paper>/<tier>/verdicts.json, none where there is no such file."""
    path = results_dir() / paper / tier / "verdicts.json"
    return list(read_json(path)["rows"]) if path.exists() else []


def verdict_block(papers: list[str], tiers: tuple[str, ...]) -> str:
    """One table of the verdicts of those papers at those tiers, the tiers of a claim next to each other."""
    rows = []
    for paper in papers:
        own = [row for tier in tiers for row in stored_verdicts(paper, tier)]
        judged = {row["claim"] for row in own if row["rule"]}
        order = list(dict.fromkeys(row["claim"] for row in own))
        # A claim that is not meant for a tier says so only where it is judged at no other tier shown.
        kept = [row for row in own if row["rule"] or row["claim"] not in judged]
        prefix = f"{paper.replace('_', ' ')} " if len(papers) > 1 else ""
        kept.sort(key=lambda row: order.index(row["claim"]))  # stable: tiers keep their order
        rows += [row | {"claim": prefix + row["claim"]} for row in kept]
    return markdown(rows) if rows else "No verdicts are stored yet.\n"


def _renewed(root: Path) -> dict[Path, str]:
    """README file with markers -> its text with the present verdicts."""
    papers = sorted(p.parent.name for p in (root / "papers").glob("*/specs"))
    blocks: dict[Path, tuple[list[str], tuple[str, ...]]] = {root / "README.md": (papers, OVERVIEW)}
    blocks |= {root / "papers" / paper / "README.md": ([paper], TIERS) for paper in papers}
    return {
        path: _replaced(path.read_text(), verdict_block(*block))
        for path, block in blocks.items()
        if path.exists() and BEGIN in path.read_text() and END in path.read_text()
    }


def _replaced(text: str, block: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{block}{END}{after}"
