"""`replicate report`: from stored results to one HTML file. The same results give the same bytes."""

from pathlib import Path
from typing import Any

from common.errors import Problem
from common.files import write_atomic
from common.page import gather
from common.page.rows import slug

DEFAULT = "report.html"


def report(target: str = "all", tier: str | None = None, output: str = DEFAULT) -> dict[str, Any]:
    """Writes the report and says what is in it: file, its bytes, papers, claims, verdicts, as expected, figures, tables.

    Errors: Problem for an unknown target, one without results, and a file that cannot be written; it is then as it was.
    """
    path = _writable(output)
    papers = gather.papers(target, tier)
    counts = _counts(papers)
    content = page(papers, counts, gather.without_results(papers, target), tier).encode()
    try:
        write_atomic(path, content)
    except Problem as problem:
        reason = getattr(problem.__cause__, "strerror", None) or problem.__cause__
        raise Problem(f"Cannot write {output}: {reason}. Name another file: -o FILE.html.") from problem
    return {"file": output, "bytes": len(content), "papers": [paper.name for paper in papers], **counts}


def page(papers: list[gather.Paper], counts: dict[str, int], absent: list[str], tier: str | None) -> str:
    """The report as text: page.html of this folder with page.css and page.js in it. Whatever is put in is escaped."""
    import jinja2  # here: no other verb needs it

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["slug"] = slug
    template, choices = environment.get_template("page.html"), _choices(papers)
    return template.render(papers=papers, counts=counts, absent=absent, choices=choices, only=tier) + "\n"


def _choices(papers: list[gather.Paper]) -> dict[str, list[tuple[str, str]]]:
    """What each filter offers: values of the rows, and their names."""
    rows = [row for paper in papers for row in paper.rows]
    tiers = [tier for tier in gather.TIERS if any(tier in row.tiers for row in rows)]
    words = sorted({row.verdict["verdict"] for row in rows})
    named = {"yes": "as expected", "no": "not as expected", "-": "not judged"}
    return {
        "paper": [(paper.name, paper.title) for paper in papers],
        "tier": [(tier, tier) for tier in tiers],
        "verdict": [(word, word) for word in words],
        "expected": [(value, name) for value, name in named.items() if any(row.expected == value for row in rows)],
    }


def _counts(papers: list[gather.Paper]) -> dict[str, int]:
    """What the header and the command line say."""
    rows = [row for paper in papers for row in paper.rows]
    tiers = [tier for paper in papers for tier in paper.tiers]
    return {
        "claims": len({(row.verdict["paper"], row.verdict["claim"]) for row in rows}),
        "judged": len({(row.verdict["paper"], row.verdict["claim"]) for row in rows if row.expected != "-"}),
        "verdicts": sum(tier.judged for tier in tiers),
        "as_expected": sum(tier.expected for tier in tiers),
        "figures": sum(bool(item.image) for tier in tiers for item in tier.items),
        "tables": sum(not item.image for tier in tiers for item in tier.items),
    }


def _writable(output: str) -> Path:
    """The path of the report. Errors: Problem for a name that is no HTML file's, lest something else is overwritten."""
    path = Path(output)
    if path.suffix not in (".html", ".htm") or path.is_dir():
        raise Problem(f"The report is one HTML file, but -o is '{output}'. Give a name that ends in .html.")
    return path
