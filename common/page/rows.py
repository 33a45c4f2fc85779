"""The rows of the verdict table: each verdict with its drawing, its words and what it can be chosen by."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from common.page.strip import by_seed, strip
from common.verdict_table import interval, number


@dataclass(frozen=True)
class Row:
    """A claim at a tier; one that no tier shown judges stands once for all of them.

    verdict: the row as stored (common/verdicts.py). expected: "yes", "no", or "-" where nothing was judged.
    deviations: (name, address on the page or "").
    """

    id: str
    verdict: dict[str, Any]
    tiers: tuple[str, ...]
    expected: str
    drawing: Markup
    ours: str
    seeds: str
    reported: str
    deviations: list[tuple[str, str]]


def rows_of(verdicts: Sequence[dict[str, Any]], explained: set[str]) -> list[Row]:
    """Rows with the tiers of a claim next to each other. explained: the deviations that have a place on the page."""
    found = []
    for claim in dict.fromkeys(row["claim"] for row in verdicts):
        own = [row for row in verdicts if row["claim"] == claim]
        ruled = [row for row in own if row["rule"]]
        if ruled:
            found += [_row(row, (row["tier"],), explained) for row in ruled]
        else:
            found.append(_row(own[0], tuple(row["tier"] for row in own), explained))
    return found


def slug(*words: str) -> str:
    """An address on the page."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", "--".join(words))


def _row(row: dict[str, Any], tiers: tuple[str, ...], explained: set[str]) -> Row:
    judged = bool(row["rule"] and row["n_seeds"])
    expected = "-" if not judged else "yes" if row["as_expected"] else "no"
    places = [(name, slug("d", row["paper"], name) if name in explained else "") for name in row["deviations"]]
    return Row(
        slug("c", row["paper"], row["claim"], *tiers), row, tiers, expected, strip(row), _ours(row), by_seed(row),
        _reported(row), places,
    )  # fmt: skip


def _ours(row: dict[str, Any]) -> str:
    """Our mean, and our interval where there is one."""
    if row["measured"] is None:
        return "not measured"
    mean = number(row["measured"], row["unit"])
    return mean if row["interval"] is None else f"{mean} {interval(row['interval'], row['unit'])}"


def _reported(row: dict[str, Any]) -> str:
    """The paper's number with its spread, "" where it gives none."""
    if not row["reported"]:
        return ""
    told = row["reported"]
    spread = "" if told["spread"] is None else f" ± {told['spread']:g}"
    seeds = "" if told["n"] is None else f" (n = {told['n']})"
    return f"{told['value']:g}{spread} {told['unit']}".rstrip() + seeds
