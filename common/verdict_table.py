"""Verdicts in words: numbers with their units, rules, and the Markdown table of README and notebook."""

from collections.abc import Sequence
from typing import Any

from common.claims import Claim, Rule

NOT_RUN = "not run at this tier"


def number(value: float | None, unit: str) -> str:
    """A value with its unit, "-" without a value."""
    return "-" if value is None else f"{_digits(value, unit)} {unit}".rstrip()


def interval(ends: Sequence[float], unit: str) -> str:
    """The text [low, high] with the digits that suit the unit, without the unit."""
    return f"[{_digits(ends[0], unit)}, {_digits(ends[1], unit)}]"


def _digits(value: float, unit: str) -> str:
    """One digit after the point for percentages, three significant digits for all else."""
    return f"{value:.1f}" if unit in ("pp", "%") else f"{value:.3g}"


def readable(claim: Claim, rule: Rule | None) -> str:
    """The rule in words: "at least 15 pp", "reported 32.9 pp, spread 0.8, n = 5"; "" without a rule."""
    if rule is None:
        return ""
    if rule.bound is not None:
        return f"{rule.kind.replace('_', ' ')} {rule.bound:g} {claim.unit}".rstrip()
    assert claim.reported is not None  # load_claims refuses the rule without it
    parts = [f"reported {claim.reported.value:g} {claim.unit}".rstrip()]
    parts += [] if claim.reported.spread is None else [f"spread {claim.reported.spread:g}"]
    parts += [] if claim.reported.n is None else [f"n = {claim.reported.n}"]
    return ", ".join(parts)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The verdict table; unexpected verdicts are bold, and below it each of them says what it rests on."""
    lines = [
        "| claim | says | rule or reported | ours [95 % interval] | seeds | tier | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        claim = [row["claim"], row["says"], row["rule"]]
        cells = [*claim, _ours(row), str(row["n_seeds"]), row["tier"], _verdict(row)]
        lines.append(_line(cells))
    surprises = [_surprise(row) for row in rows if not row["as_expected"]]
    if surprises:
        lines += ["", *surprises]
    return "\n".join(lines) + "\n"


def unjudged(rows: Sequence[dict[str, Any]]) -> str:
    """One line a claim that no tier shown judges: what the paper reports."""
    lines = ["| claim, judged at `full` alone | says | reported |", "|---|---|---|"]
    return "\n".join([*lines, *(_line([row["claim"], row["says"], _reported(row)]) for row in rows)]) + "\n"


def overview(rows: Sequence[dict[str, Any]], tiers: Sequence[str]) -> str:
    """One line a claim: what the paper reports, then for each tier the verdict with our mean and interval.

    A number that was not read in the paper itself carries its mark. A verdict is bold where it was not the expected one.
    """
    lines = [f"| claim | says | reported | {' | '.join(tiers)} |", "|---|---|---|" + "---|" * len(tiers)]
    for claim in dict.fromkeys(row["claim"] for row in rows):
        own = {row["tier"]: row for row in rows if row["claim"] == claim}
        first = next(iter(own.values()))
        cells = [f"{_word(own[t])} {_ours(own[t])}" if t in own and own[t]["rule"] else "-" for t in tiers]
        lines.append(_line([claim, first["says"], _reported(first), *cells]))
    return "\n".join(lines) + "\n"


def _reported(row: dict[str, Any]) -> str:
    """What the paper reports, with the mark of a number that was not read in the paper itself."""
    value = number((row["reported"] or {}).get("value"), row["unit"])
    return f"{value} ({row['mark']})" if row["reported"] and row["mark"] != "verified" else value


def _line(cells: Sequence[str]) -> str:
    """A row of a Markdown table, each cell on one line."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _word(row: dict[str, Any]) -> str:
    """The verdict word, bold when it is not the expected one; of a claim whose runs are not all made, that."""
    if row["verdict"] == NOT_RUN:
        return "not run yet"
    return str(row["verdict"]) if row["as_expected"] else f"**{row['verdict']}**"


def _ours(row: dict[str, Any]) -> str:
    """Our mean and interval."""
    mean = number(row["measured"], row["unit"])
    return mean if row["interval"] is None else f"{mean} {interval(row['interval'], row['unit'])}"


def _verdict(row: dict[str, Any]) -> str:
    """The verdict word, bold with the expectation when it is not the expected one."""
    return row["verdict"] if row["as_expected"] else f"**{row['verdict']}** (expected: {row['expect']})"


def _surprise(row: dict[str, Any]) -> str:
    """One list item: values by seed, count of runs (`replicate claims --json` names them) and note of an unexpected verdict."""
    values = ", ".join(
        f"seed {seed}: {number(value, row['unit'])}" for seed, value in zip(row["seeds"], row["values"], strict=True)
    )
    runs = f"{len(row['run_ids'])} runs" if row["run_ids"] else ""
    facts = "; ".join(fact for fact in (values, runs, row["note"]) if fact)
    return f"- **{row['claim']}** at tier {row['tier']}, {row['source']}: {facts}."
