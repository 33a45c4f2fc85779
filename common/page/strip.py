"""The seeds of a verdict as a small drawing: every value, their interval, the bound, the reported number."""

import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from common.verdict_table import interval, number

WIDTH, HEIGHT, MARGIN, MIDDLE = 210, 46, 12, 17  # pixels; MIDDLE: height of the axis
SPREAD = 9  # pixels that the seeds lie apart from the axis at most, so that equal values are told apart


def strip(row: dict[str, Any]) -> Markup:
    """The drawing of a row of common/verdicts.py as inline SVG, "" without a value. The claim holds on the pale side."""
    known = [value for value in row["values"] if value is not None]
    if not known:
        return Markup("")
    kind, bound = _bound(row["rule"])
    reported = row["reported"]["value"] if row["reported"] else None
    marks = [*known, *(row["interval"] or ()), *(v for v in (bound, reported) if v is not None)]
    x = _scale(min(marks), max(marks))
    parts = [_side(x, bound, kind), f'<path class="axis" d="M{MARGIN} {MIDDLE}H{WIDTH - MARGIN}"/>']
    if row["interval"]:
        low, high = (x(end) for end in row["interval"])
        parts.append(f'<path class="interval" d="M{low:.1f} {MIDDLE}H{high:.1f}"/>')
    parts.append(f'<path class="mean" d="M{x(row["measured"]):.1f} {MIDDLE - 8}v16"/>')
    heights = _heights(len(known))
    parts += [f'<circle cx="{x(v):.1f}" cy="{y:.1f}" r="3.2"/>' for v, y in zip(known, heights, strict=True)]
    if bound is not None:
        parts.append(f'<path class="bound" d="M{x(bound):.1f} 3V{2 * MIDDLE - 3}"/>')
    if reported is not None:
        parts.append(f'<path class="reported" d="M{x(reported):.1f} {MIDDLE - 6}l5 6-5 6-5-6z"/>')
    places = {MARGIN: min(marks), WIDTH - MARGIN: max(marks)} if min(marks) < max(marks) else {WIDTH // 2: marks[0]}
    ends = Markup("").join(
        Markup('<text x="{}" y="{}">{}</text>').format(at, HEIGHT - 3, number(value, row["unit"]))
        for at, value in places.items()
    )
    return Markup('<svg class="strip" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">{}{}</svg>').format(
        WIDTH, HEIGHT, WIDTH, HEIGHT, told(row), Markup("".join(parts)), ends
    )  # fmt: skip


def told(row: dict[str, Any]) -> str:
    """The drawing in words."""
    words = [by_seed(row)]
    words += [f"95 % interval {interval(row['interval'], row['unit'])}"] if row["interval"] else []
    words += [f"rule: {row['rule']}"]
    words += [f"the paper reports {number(row['reported']['value'], row['unit'])}"] if row["reported"] else []
    return "; ".join(words)


def by_seed(row: dict[str, Any]) -> str:
    """ "seed 0: 8.5 pp, seed 1: not measured"."""
    pairs = zip(row["seeds"], row["values"], strict=True)
    return ", ".join(f"seed {s}: {'not measured' if v is None else number(v, row['unit'])}" for s, v in pairs)


def _bound(rule: str) -> tuple[str, float | None]:
    """("at least", 15.0) of "at least 15 pp"; without a bound where the rule is a reported number."""
    found = re.match(r"(at least|at most) (\S+)", rule)
    return (found[1], float(found[2])) if found else ("", None)


def _scale(low: float, high: float) -> Any:
    """Function from a value to its x; a single value stands in the middle."""
    if high == low:
        return lambda value: WIDTH / 2
    return lambda value: MARGIN + (WIDTH - 2 * MARGIN) * (value - low) / (high - low)


def _heights(count: int) -> Sequence[float]:
    """y of each seed, the first at the top."""
    return [MIDDLE] if count == 1 else [MIDDLE - SPREAD + 2 * SPREAD * i / (count - 1) for i in range(count)]


def _side(x: Any, bound: float | None, kind: str) -> str:
    """The side of the bound on which the claim holds, as a pale field."""
    if bound is None:
        return ""
    start, end = (x(bound), WIDTH) if kind == "at least" else (0.0, x(bound))
    return f'<path class="side" d="M{start:.1f} 2H{end:.1f}V{2 * MIDDLE - 2}H{start:.1f}z"/>'
