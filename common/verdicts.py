"""Verdicts: each claim's rule applied to the runs of a tier, over seeds, in both directions.

Verdict words: "within", "above", "below" (against a reported number); "direction holds", "fails" (against a
bound); "too few seeds to tell"; "not run at this tier".
"""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from common.claims import EXPECTATIONS, Claim, Reported, Rule
from common.errors import Missing
from common.measured import Measured, Measures, measured, selected
from common.stats import Alternative, bootstrap_interval, enough, paired_permutation_p, welch_interval
from common.verdict_table import NOT_RUN, interval, readable

if TYPE_CHECKING:
    import pandas as pd

TOO_FEW = "too few seeds to tell"
SLACK = 1e-6  # tables round: a value that equals the bound must not fail by that
Verdict = tuple[str, list[str]]  # the word, and notes


def judge(claims: Sequence[Claim], table: "pd.DataFrame", tier: str, measures: Measures) -> list[dict[str, Any]]:
    """One row (plain values, JSON-ready) a claim: the claim, the verdict, and what it rests on.

    table: one row a finished run. measures: name -> function of the rows of one seed, giving a fraction when
    the claim's unit is pp or %. It returns NaN when what it looks for never happened (the claim then fails)
    and raises Problem when runs it needs are missing (the seed is left out, and the note says why).
    A row: paper, claim, says, source, mark, tier, verdict, expect, as_expected, reported, measured (mean over
    seeds), interval (bootstrap), seeds, values (one a seed), n_seeds, unit, p_value (exact sign flips of
    value - bound, or - reported value), rule, note (of a claim not measured: why), run_ids (of such a claim: the runs
    that are there), deviations.
    """
    return [_judged(claim, table, tier, measures) for claim in claims]


def _judged(claim: Claim, table: "pd.DataFrame", tier: str, measures: Measures) -> dict[str, Any]:
    """The row of one claim."""
    rule = claim.tiers.get(tier)
    if rule is None:
        return _row(claim, tier, None, NOT_RUN, ["the claim has no rule for this tier"], Measured())
    try:
        found = measured(claim, table, tier, measures)
    except Missing as problem:
        return _row(claim, tier, rule, NOT_RUN, problem.messages, Measured(run_ids=_there(claim, table, tier)))
    absent = [seed for seed, value in found.values.items() if math.isnan(value)]
    if absent:
        seeds = ", ".join(map(str, absent))
        verdict = "fails"
        notes = [f"could not be measured in seed {seeds}: what the measure looks for never happened"]
    elif rule.kind == "reported":
        assert claim.reported is not None  # load_claims refuses the rule without it
        verdict, notes = _against_reported(list(found.values.values()), claim.reported)
    else:
        verdict, notes = _against_bound(list(found.values.values()), rule)
    return _row(claim, tier, rule, verdict, notes, found)


def _there(claim: Claim, table: "pd.DataFrame", tier: str) -> list[str]:
    """Ids of the runs that a claim is about, as far as they are made: where some are, they are not what it lacks."""
    try:
        return [str(run) for run in selected(claim, table, tier)["run_id"].unique()]
    except Missing:
        return []


def _against_bound(values: list[float], rule: Rule) -> Verdict:
    """Holds or fails when the whole bootstrap interval is on one side of the bound; else too few seeds to tell."""
    assert rule.bound is not None
    sign = 1 if rule.kind == "at_least" else -1
    margins = sign * (np.array(values) - rule.bound)
    slack = SLACK * max(1.0, abs(rule.bound))
    if len(values) < 2:
        return TOO_FEW, []
    low, high = bootstrap_interval(margins)
    if high < -slack:
        return "fails", []
    return ("direction holds" if low >= -slack else TOO_FEW), []


def _against_reported(values: list[float], reported: Reported) -> Verdict:
    """Where the interval of ours minus reported lies; without a usable spread of the paper, of ours alone."""
    if len(values) < 2:
        return TOO_FEW, []
    notes = []
    if reported.spread is not None and reported.n is not None and reported.n >= 2:
        sd = float(np.std(values, ddof=1))
        low, high = welch_interval(float(np.mean(values)), sd, len(values), reported.value, reported.spread, reported.n)
        notes.append(f"ours minus reported: {interval((low, high), reported.unit)} (95 %, Welch)")
    else:
        low, high = (end - reported.value for end in bootstrap_interval(values))
        notes.append("the paper gives no spread over seeds: only ours is counted")
    slack = SLACK * max(1.0, abs(reported.value))
    verdict = "above" if low > slack else "below" if high < -slack else "within"
    return verdict, notes


def _row(
    claim: Claim, tier: str, rule: Rule | None, verdict: str, notes: Sequence[str], found: Measured
) -> dict[str, Any]:
    """The result row; None where a number does not exist."""
    values = list(found.values.values())
    known = [value for value in values if not math.isnan(value)]
    ends = bootstrap_interval(values)
    p_value, side = _p_value(claim, rule, values)
    words = [*notes, *found.notes]
    if values and enough(len(values), side):
        words.append(f"by the exact test alone, {enough(len(values), side)}")
    return {
        "paper": claim.paper,
        "claim": claim.id,
        "says": claim.says,
        "source": claim.source,
        "mark": claim.mark,
        "tier": tier,
        "verdict": verdict,
        "expect": rule.expect if rule else None,
        "as_expected": rule is None or verdict == EXPECTATIONS[rule.expect],
        "reported": asdict(claim.reported) if claim.reported else None,
        "measured": float(np.mean(known)) if known else None,
        "interval": None if math.isnan(ends[0]) else list(ends),
        "seeds": list(found.values),
        "values": [None if math.isnan(value) else value for value in values],
        "n_seeds": len(values),
        "unit": claim.unit,
        "p_value": None if math.isnan(p_value) else p_value,
        "rule": readable(claim, rule),
        "note": "; ".join(words),
        "run_ids": found.run_ids,
        "deviations": list(claim.deviations),
    }


def _p_value(claim: Claim, rule: Rule | None, values: Sequence[float]) -> tuple[float, Alternative]:
    """p of the exact sign-flip test of value - bound (or - reported value), and the side that is tested."""
    if rule is None or not values:
        return math.nan, "two-sided"
    sides: dict[str, Alternative] = {"at_least": "greater", "at_most": "less", "reported": "two-sided"}
    target = claim.reported.value if rule.bound is None and claim.reported else rule.bound
    return paired_permutation_p(np.array(values) - target, sides[rule.kind]), sides[rule.kind]
