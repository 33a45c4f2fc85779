"""The verdict tables inside README files, between markers, from the stored verdicts."""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

from common.files import read_json, write_atomic
from common.places import ROOT, results_dir
from common.verdict_table import NOT_RUN, markdown, overview, unjudged

BEGIN, END = "<!-- verdicts:begin -->", "<!-- verdicts:end -->"
TIERS = ("smoke", "small", "full")
NOTHING = "No verdicts are stored yet.\n"
OVERVIEW = ("smoke", "small")  # what anyone can run; the cluster's tier is in the papers' own README files


def write_readmes(root: Path = ROOT, papers: Collection[str] | None = None) -> list[str]:
    """Paths of the README files whose verdict table was renewed: the top one's and those of `papers` (None: of all).

    Files without markers are left alone.
    """
    renewed = {path: text for path, text in _renewed(root, papers).items() if text != path.read_text()}
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


def verdict_block(paper: str) -> str:
    """The table of a paper's verdicts at all tiers, the tiers of a claim next to each other, with what they rest on."""
    own = [row for tier in TIERS for row in stored_verdicts(paper, tier)]
    order = list(dict.fromkeys(row["claim"] for row in own))
    kept = sorted(
        (row for row in own if row["rule"]), key=lambda row: order.index(row["claim"])
    )  # tiers keep their order
    rest = {row["claim"]: row for row in own if row["claim"] not in {row["claim"] for row in kept}}
    tables = [markdown(kept)] * bool(kept) + [unjudged(list(rest.values()))] * bool(rest)
    return "\n".join(tables) or NOTHING


def overview_block(papers: list[str], root: Path = ROOT) -> str:
    """How the claims of each paper fared, and, folded, a line a claim judged at a tier anyone can run."""
    stored = {
        paper: [row for tier in OVERVIEW for row in stored_verdicts(paper, tier) if row["rule"]] for paper in papers
    }
    stored = {paper: rows for paper, rows in stored.items() if rows}
    if not stored:
        return NOTHING
    counted = {_linked(paper, root): rows for paper, rows in stored.items()}
    counted["all"] = [row for rows in stored.values() for row in rows]
    lines = [f"| paper | {' | '.join(OVERVIEW)} |", "|---|" + "---|" * len(OVERVIEW)]
    lines += [f"| {title} | {' | '.join(_count(rows, tier) for tier in OVERVIEW)} |" for title, rows in counted.items()]
    folded = [
        f"<details><summary>{paper.replace('_', ' ')}, claim by claim</summary>\n\n{overview(rows, OVERVIEW)}\n</details>\n"
        for paper, rows in stored.items()
    ]
    return "\n".join([*lines, "", *folded])


def _linked(paper: str, root: Path) -> str:
    """The paper's name, as a link where it has a README."""
    path = f"papers/{paper}/README.md"
    return f"[{paper.replace('_', ' ')}]({path})" if (root / path).exists() else paper.replace("_", " ")


HOLDS, OPEN = ("direction holds", "within"), "too few seeds to tell"


def _count(rows: list[dict[str, Any]], tier: str) -> str:
    """How many claims hold, fail and are undecided at a tier, and how many verdicts were not the expected one."""
    own = [row for row in rows if row["tier"] == tier]
    judged = [row for row in own if row["verdict"] != NOT_RUN]
    holds, undecided = (sum(row["verdict"] in words for row in judged) for words in (HOLDS, (OPEN,)))
    surprises = sum(not row["as_expected"] for row in judged)
    told = f"{holds} hold, {len(judged) - holds - undecided} fail, {undecided} undecided; {surprises} unexpected"
    waiting = len(own) - len(judged)
    return (told if judged else "-") + (f", {waiting} not run" if waiting else "")


def _renewed(root: Path, papers: Collection[str] | None = None) -> dict[Path, str]:
    """README file with markers, the top one and those of `papers` (None: of all) -> its text with the present verdicts."""
    every = sorted(p.parent.name for p in (root / "papers").glob("*/specs"))
    blocks: dict[Path, Callable[[], str]] = {root / "README.md": partial(overview_block, every, root)}
    own = [paper for paper in every if papers is None or paper in papers]
    blocks |= {root / "papers" / paper / "README.md": partial(verdict_block, paper) for paper in own}
    return {
        path: _replaced(path.read_text(), block())
        for path, block in blocks.items()
        if path.exists() and BEGIN in path.read_text() and END in path.read_text()
    }


def _replaced(text: str, block: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{block}{END}{after}"
