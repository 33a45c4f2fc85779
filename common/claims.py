"""Claims as data: what a paper says, where, and by which rule our runs are judged at each tier.

A paper's `papers/<paper>/claims.yaml` is a list of rows. The reported half of a row (says, source, mark,
reported) is what the paper says and is locked (common/claim_lock.py); the rest is how we measure and judge it
(common/verdicts.py).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import Problem
from common.fields import Field, fitting, is_choice, is_count, is_number, is_text, nearest_of, or_null, shown

TIERS = ("smoke", "small", "full")
MARKS = ("verified", "secondary", "recalled", "derived", "measured")
RULES = ("at_least", "at_most", "reported")
# What a tier may expect, and the verdict that then counts as expected.
EXPECTATIONS = {
    "holds": "direction holds",
    "fails": "fails",
    "within": "within",
    "above": "above",
    "below": "below",
    "too few seeds": "too few seeds to tell",
}
_POSSIBLE = {
    "at_least": ("holds", "fails", "too few seeds"),
    "at_most": ("holds", "fails", "too few seeds"),
    "reported": ("within", "above", "below", "too few seeds"),
}
Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Reported:
    """A number of the paper: mean, sample standard deviation over n seeds (None: not given), place."""

    value: float
    spread: float | None
    n: int | None
    unit: str
    where: str


@dataclass(frozen=True)
class Rule:
    """How a tier judges: kind "at_least" or "at_most" a bound in the claim's unit, or against "reported"."""

    kind: str
    bound: float | None
    expect: str


@dataclass(frozen=True)
class Claim:
    """One row of a claims.yaml. `runs`: column of the table of runs -> values, any of which selects a run."""

    paper: str
    id: str
    says: str
    source: str
    mark: str
    reported: Reported | None
    runs: dict[str, tuple[Scalar, ...]]
    measure: str
    unit: str
    tiers: dict[str, Rule]
    deviations: tuple[str, ...]


_TEXT = Field("a text", is_text)
_ROW = {
    "id": _TEXT,
    "says": _TEXT,
    "source": _TEXT,
    "mark": Field("one of " + ", ".join(MARKS), lambda value: value in MARKS),
    "reported": Field("a mapping or null", or_null(lambda value: isinstance(value, dict)), False),
    "runs": Field(
        "a mapping from columns of the table of runs to a value or a list of values",
        lambda value: isinstance(value, dict) and all(map(is_choice, value.values())),
    ),
    "measure": _TEXT,
    "unit": Field("a text", lambda value: isinstance(value, str), False),
    "tiers": Field("a mapping from tiers to rules", lambda value: isinstance(value, dict) and bool(value)),
    "deviations": Field("a list of texts", lambda value: isinstance(value, list) and all(map(is_text, value)), False),
}
_REPORTED = {
    "value": Field("a number", is_number),
    "spread": Field("a number >= 0 or null", or_null(lambda v: is_number(v) and v >= 0), False),
    "n": Field("a count of seeds or null", or_null(is_count), False),
    "unit": Field("a text", lambda value: isinstance(value, str), False),
    "where": _TEXT,
}
_RULE = {
    "at_least": Field("a number", is_number, False),
    "at_most": Field("a number", is_number, False),
    "reported": Field("true", lambda value: value is True, False),
    "expect": Field("one of " + ", ".join(EXPECTATIONS), lambda value: value in tuple(EXPECTATIONS)),
}


def load_claims(path: Path) -> list[Claim]:
    """The claims of a paper's claims.yaml, in its order; the paper is the name of the file's folder.

    Errors: Problem with everything that is wrong in the file at once.
    """
    import yaml  # here: `replicate --help` must not pay for it

    try:
        # the C loader where it is there: the same safe rows, ten times sooner
        rows = yaml.load(path.read_text(), Loader=_loader())
    except FileNotFoundError as error:
        raise Problem(f"There is no {path}: write the paper's claims there, one row each.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Problem(f"{path} is not valid YAML: {error}") from error
    if not isinstance(rows, list):
        raise Problem(f"{path} must be a list of rows ('- id: C1' and so on), not {shown(rows)}.")
    problems: list[str] = []
    claims = [_claim(path, number, row, problems) for number, row in enumerate(rows, 1)]
    names = [row.get("id") for row in rows if isinstance(row, dict)]
    repeated = dict.fromkeys(str(name) for name in names if name is not None and names.count(name) > 1)
    problems += [f"{path}: the id {name} is given to more than one claim; ids are unique." for name in repeated]
    if problems:
        raise Problem(*problems)
    return [claim for claim in claims if claim is not None]


def _loader() -> Any:
    """YAML's safe loader that refuses a key given twice, of which it would else keep the last."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value]
            if doubled := next((key for key in node.value if keys.count(key[0].value) > 1), None):
                mark = doubled[0].start_mark
                raise yaml.YAMLError(f"the key {doubled[0].value} is given twice, first in line {mark.line + 1}")
            return super().construct_mapping(node, deep)

    return Loader


def _claim(path: Path, number: int, row: Any, problems: list[str]) -> Claim | None:
    """The claim of one row, or None after adding to `problems` what is wrong with it."""
    named = isinstance(row, dict) and is_text(row.get("id"))
    where = f"{path}, claim {row['id']}" if named else f"{path}, row {number}"
    before = len(problems)
    given = fitting(where, row, _ROW, problems)
    unit = given.get("unit", "")
    reported = _reported(where, given.get("reported"), unit, problems)
    tiers = {}
    for tier, rule in given.get("tiers", {}).items():
        if tier in TIERS:
            tiers[tier] = _rule(f"{where}, tier {tier}", rule, problems)
        else:
            allowed = nearest_of(tier, TIERS)
            problems.append(f"{where}: {shown(tier)} is no tier.{allowed}")
    against_paper = any(rule is not None and rule.kind == "reported" for rule in tiers.values())
    if against_paper and given.get("reported") is None:
        problems.append(f"{where}: 'reported: true' needs a reported value; give one or a bound (at_least, at_most).")
    elif against_paper and given.get("mark") == "recalled":
        problems.append(f"{where}: a recalled value is no target; verify it at its source or give a bound.")
    if len(problems) > before:
        return None
    return Claim(
        path.absolute().parent.name, given["id"], given["says"], given["source"], given["mark"], reported,
        {str(column): tuple(v if isinstance(v, list) else [v]) for column, v in given["runs"].items()},
        given["measure"], unit, {tier: rule for tier, rule in tiers.items() if rule is not None},
        tuple(given.get("deviations", [])),
    )  # fmt: skip


def _reported(where: str, value: Any, unit: str, problems: list[str]) -> Reported | None:
    """The reported number of a row whose claim is measured in `unit`, or None."""
    if value is None:
        return None
    given = fitting(f"{where}, reported", value, _REPORTED, problems)
    if given.get("unit", unit) != unit:
        problems.append(f"{where}: reported in {shown(given['unit'])} but measured in {shown(unit)}; use one unit.")
    if "value" not in given or "where" not in given:
        return None
    spread = given.get("spread")
    return Reported(
        float(given["value"]), None if spread is None else float(spread), given.get("n"), unit, given["where"]
    )


def _rule(where: str, value: Any, problems: list[str]) -> Rule | None:
    """The rule of one tier, or None after adding to `problems` what is wrong with it."""
    before = len(problems)
    given = fitting(where, value, _RULE, problems)
    if len(problems) > before:
        return None
    kinds = [kind for kind in RULES if kind in given]
    if len(kinds) != 1:
        problems.append(f"{where}: give exactly one of {', '.join(RULES)}, not {', '.join(kinds) or 'none'}.")
        return None
    (kind,) = kinds
    if given["expect"] not in _POSSIBLE[kind]:
        possible = ", ".join(_POSSIBLE[kind])
        problems.append(f"{where}: the rule {kind} never gives '{given['expect']}'. It can expect: {possible}.")
    return Rule(kind, None if kind == "reported" else float(given[kind]), given["expect"])
