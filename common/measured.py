"""From the table of runs to one value a seed: which runs a claim is about, and its measure on them."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from common.claims import Claim, Scalar
from common.errors import Missing, Problem, nearest
from common.metrics import METRICS
from common.papers_code import Fault, called

if TYPE_CHECKING:
    import pandas as pd

Measures = Mapping[str, Callable[["pd.DataFrame"], float]]
PERCENT_UNITS = ("pp", "%")  # fractions are shown times 100 in these
_DIFFERENCE = re.compile(r"(\S+) - (\S+)")
_IN_CASE = re.compile(r"([^\s\[\]]+)\[([^\]]+)\]")


def cases_in(measure: str) -> list[tuple[str, str]]:
    """(column, case) of each term of "column[case]" or "column[case] - column[case]"; none of any other measure."""
    terms = [_IN_CASE.fullmatch(term) for term in measure.split(" - ")]
    return [(term[1], term[2]) for term in terms if term] if len(terms) <= 2 and all(terms) else []


@dataclass
class Measured:
    """seed -> value in the claim's unit (NaN: what is measured never happened), the runs behind, notes."""

    values: dict[Any, float] = field(default_factory=dict)
    run_ids: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def measured(claim: Claim, table: "pd.DataFrame", tier: str, measures: Measures) -> Measured:
    """The claim's measure in every seed that has runs at the tier.

    Errors: Missing, saying why, when nothing can be measured yet: no runs, no such column in the table so far, several
    runs where a column measure needs one, or runs missing in every seed. Problem for a measure that there is not.
    """
    rows = selected(claim, table, tier)
    factor = 100 if claim.unit in PERCENT_UNITS else 1
    if claim.measure in measures:
        found = _by_function(claim, rows, measures[claim.measure])
    elif terms := cases_in(claim.measure):
        found = _by_case(claim, terms, rows, measures)
    else:
        found = _by_column(claim, rows, measures)
    found.values = {seed: factor * v if math.isfinite(v) else math.nan for seed, v in found.values.items()}
    return found


def _by_function(claim: Claim, rows: "pd.DataFrame", measure: Callable[["pd.DataFrame"], float]) -> Measured:
    """The function's value on the rows of each seed; seeds whose runs are missing are left out and noted."""
    found = Measured()
    for key, own in rows.groupby("seed", sort=True):
        seed: Any = key.item() if hasattr(key, "item") else key
        try:
            found.values[seed] = called(f"The measure {claim.measure} of claim {claim.id}", _number, measure, own)
        except Fault:
            raise
        except Problem as problem:
            found.notes.append(f"seed {seed} left out: {' '.join(problem.messages)}")
        except KeyError as error:
            found.notes.append(f"seed {seed} left out: the table of runs has no {error}")
        else:
            found.run_ids += own["run_id"].astype(str).unique().tolist()
    if not found.values:
        raise Missing(*found.notes)
    return found


def _number(measure: Callable[["pd.DataFrame"], float], rows: "pd.DataFrame") -> float:
    return float(measure(rows))


def selected(claim: Claim, table: "pd.DataFrame", tier: str) -> "pd.DataFrame":
    """The rows of the table that a claim is about. Errors: Missing when there are none."""
    if table.empty:
        raise Missing("there are no runs yet")
    wanted: dict[str, tuple[Scalar, ...]] = {"paper": (claim.paper,), "tier": (tier,), **claim.runs}
    rows = table
    for column, choices in wanted.items():
        if column not in table:
            raise Missing(f"the table of runs has no column '{column}'.{nearest(column, map(str, table.columns))}")
        text, missing = rows[column].astype(str), rows[column].isna()
        fitting = {cell for cell in text.unique() if any(_same(cell, choice) for choice in choices)}
        rows = rows[text.isin(fitting) & ~missing | missing & (None in choices)]
    if rows.empty:
        told = ", ".join(f"{column} = {' or '.join(map(str, choices))}" for column, choices in wanted.items())
        raise Missing(f"there is no run with {told}")
    return rows


def _same(cell: str, choice: Scalar) -> bool:
    """Whether a cell, as text, holds a value; a table read from CSV may hold 3 as 3.0, and YAML 1e-3 as a text."""
    if choice is None:
        return False
    try:
        return float(cell) == float(choice)
    except ValueError:
        return cell == str(choice)


def _by_column(claim: Claim, rows: "pd.DataFrame", measures: Measures) -> Measured:
    """The value of "column" or "column - column" of the one run of each seed."""
    measure = claim.measure
    difference = _DIFFERENCE.fullmatch(measure)
    columns = list(difference.groups()) if difference else [measure]
    for column in columns:
        if column not in rows:
            near = nearest(column, [*map(str, rows.columns), *measures])
            raise Problem(
                f"papers/{claim.paper}/claims.yaml, claim {claim.id}: the measure '{column}' is neither a column of the table "
                f"nor a function.{near}"
            )
        if not _numbers(rows[column]):
            raise Problem(
                f"papers/{claim.paper}/claims.yaml, claim {claim.id}: '{column}' holds texts; measure a number."
            )
    if rows[columns].isna().any(axis=1).all():
        raise Missing(f"no run holds a value of {measure}")
    once = rows.drop_duplicates(["seed", "run_id"]).sort_values("seed")  # one run may stand under several specs
    several = once["seed"][once["seed"].duplicated()]
    if len(several):
        raise Missing(_ambiguous(several.iloc[0], rows[rows["seed"] == several.iloc[0]]))
    values = once[columns[0]].astype(float) - sum(once[column].astype(float) for column in columns[1:])
    ids = once["run_id"].astype(str).tolist()
    return Measured(dict(zip(once["seed"].tolist(), values.tolist(), strict=True)), ids)


def _by_case(claim: Claim, terms: Sequence[tuple[str, str]], rows: "pd.DataFrame", measures: Measures) -> Measured:
    """The value of "column[case]", or of "column[case] - column[case]", paired by seed; other seeds are left out and noted."""
    found = []
    for column, case in terms:
        own = rows[rows["case"] == case]
        if own.empty:
            raise Missing(
                f"there is no run of the case '{case}'.{nearest(case, map(str, rows['case'].dropna().unique()))}"
            )
        found.append(_by_column(replace(claim, measure=column), own, measures))
    first, *others = found
    whole = Measured()
    for seed in dict.fromkeys(seed for one in found for seed in one.values):
        lacking = [case for (_, case), one in zip(terms, found, strict=True) if seed not in one.values]
        if lacking:
            whole.notes.append(f"seed {seed} left out: no run of {' and '.join(lacking)}")
        else:
            whole.values[seed] = first.values[seed] - sum(other.values[seed] for other in others)
    if not whole.values:
        raise Missing(*whole.notes)
    whole.run_ids = list(dict.fromkeys(run for one in found for run in one.run_ids))
    return whole


def _numbers(column: "pd.Series[Any]") -> bool:
    try:
        column.astype(float)
    except (TypeError, ValueError):
        return False
    return True


def _ambiguous(seed: Any, rows: "pd.DataFrame") -> str:
    """The sentence that names what tells the several runs of one seed apart."""
    settings = list(map(str, rows.columns))
    settings = settings[: next((place for place, name in enumerate(settings) if name in METRICS), None)]
    apart = [name for name in settings if name != "run_id" and rows[name].astype(str).nunique() > 1]
    return (
        f"seed {seed} has {rows['run_id'].nunique()} runs that differ in {', '.join(apart) or 'no setting'}; "
        "a column is measured on one run a seed: narrow 'runs' or measure with a function"
    )
