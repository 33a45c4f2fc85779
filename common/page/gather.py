"""Everything stored about papers as plain values, ready to be shown: verdicts, figures, tables, what the READMEs say.

Read are results/<paper>/<tier>/ and papers/<paper>/README.md alone, so that a report needs no runs, no data and no torch.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from common import sweep
from common.asked import folder_of
from common.errors import Problem
from common.page import prose
from common.page.items import Item, Runs, items_of, runs_of
from common.page.rows import Row, rows_of
from common.places import ROOT
from common.readme import TIERS, stored_verdicts


@dataclass(frozen=True)
class Tier:
    """What is stored of a paper at a tier; `verdicts` counts the judged claims by their verdict."""

    name: str
    runs: Runs
    items: list[Item]
    claims: int
    judged: int
    expected: int
    verdicts: dict[str, int]


@dataclass(frozen=True)
class Paper:
    """A paper: what its README says, its verdicts, and what is stored at each tier."""

    name: str
    title: str
    lead: prose.Markup
    findings: prose.Markup
    deviations: list[list[prose.Markup]]
    rows: list[Row]
    tiers: list[Tier]


def papers(target: str, tier: str | None = None) -> list[Paper]:
    """The papers of a target that have stored results, of PAPER/SPEC what is about that spec.

    Errors: Problem for an unknown target or tier, where nothing is stored, and for stored files that say not where they are from.
    """
    names = list(dict.fromkeys(paper for paper, _ in sweep.targets(target)))
    found = {name: [t for t in TIERS if (folder_of(name, t) / "runs.csv").exists()] for name in names}
    kept = {name: [t for t in tiers if tier in (None, t)] for name, tiers in found.items()}
    if not any(kept.values()):
        raise Problem(_nothing(target, tier, found))
    spec = target.partition("/")[2]
    return [_paper(name, tiers, spec) for name, tiers in kept.items() if tiers]


def without_results(shown: Sequence[Paper], target: str) -> list[str]:
    """Papers of the target that have nothing to show."""
    return sorted({paper for paper, _ in sweep.targets(target)} - {paper.name for paper in shown})


def _nothing(target: str, tier: str | None, found: dict[str, list[str]]) -> str:
    """The sentence on a target without results, which says what is stored of it."""
    at = f" at tier {tier}" if tier else ""
    there = "; ".join(f"{name} at {', '.join(tiers)}" for name, tiers in found.items() if tiers)
    instead = f" Stored: {there}." if there else ""
    return (
        f"No results of {target} are stored{at}.{instead} Make them: replicate run {target} --tier {tier or 'smoke'}."
    )


def _paper(name: str, tiers: Sequence[str], spec: str) -> Paper:
    text = prose.read(ROOT / "papers" / name / "README.md")
    deviations = prose.table(prose.section(text, "Deviations"))
    explained = {str(line[0]) for line in deviations[1:]}
    verdicts = {tier: _about(stored_verdicts(name, tier), name, spec) for tier in tiers}
    return Paper(
        name,
        prose.title(text, name.replace("_", " ")),
        prose.lead(text),
        prose.html(prose.section(text, "Findings")),
        deviations,
        rows_of([row for tier in tiers for row in verdicts[tier]], explained),
        [_tier(name, tier, verdicts[tier], spec) for tier in tiers],
    )


def _tier(name: str, tier: str, verdicts: list[dict[str, Any]], spec: str) -> Tier:
    folder = folder_of(name, tier)
    judged = [row for row in verdicts if row["rule"] and row["n_seeds"]]
    met = sum(row["as_expected"] for row in judged)
    counts = Counter(row["verdict"] for row in judged)
    return Tier(tier, runs_of(folder), items_of(name, folder, spec), len(verdicts), len(judged), met, dict(counts))


def _about(verdicts: list[dict[str, Any]], paper: str, spec: str) -> list[dict[str, Any]]:
    """The verdicts on claims about a spec, all of them where none is named."""
    if not spec:
        return verdicts
    from common.reading import claims_of

    wanted = {claim.id for claim in claims_of(paper) if spec in claim.runs.get("spec", (spec,))}
    return [row for row in verdicts if row["claim"] in wanted]
