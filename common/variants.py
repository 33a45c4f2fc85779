"""What a spec varies: its cases, the points of their grids, and seeds."""

import itertools
from collections.abc import Iterator
from typing import Any

from common.errors import Problem
from common.specfiles import load, merge, nested


def cases_of(content: dict[str, Any], tier: str) -> dict[str, Any]:
    """Cases of a spec at a tier. One that a tier sets to null is none there, one of the spec's that is null is nowhere."""
    if "of" in content:
        return cases_of(load(content["paper"], content["of"]), tier)
    own = (content["tiers"].get(tier) or {}).get("cases", {})
    gone = {k for k, v in content["cases"].items() if v is None}
    return {k: v for k, v in merge(content["cases"], own).items() if v is not None and k not in gone}


def refuse_what_cases_are(cases: dict[str, Any], overrides: dict[str, Any]) -> None:
    """Nothing. Errors: Problem for an override of what several cases differ in: each would be another's namesake."""
    named = {kind for variant in cases.values() for kind, value in nested(variant).items() if _is_named(value)}
    for key in overrides:
        kind, _, setting = key.partition(".")
        if len(cases) > 1 and ((setting == "name" and kind in named) or (key == "data" and "data" in _union(cases))):
            raise Problem(f"{key} is what its cases differ in ({', '.join(cases)}). Name one of them with --case.")


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and "name" in value


def _union(cases: dict[str, Any]) -> set[str]:
    return {key for variant in cases.values() for key in variant}


def variants(
    cases: dict[str, Any], axes: dict[str, list[Any]], overrides: dict[str, Any], seeds: list[int]
) -> Iterator[tuple[str, dict[str, Any], int]]:
    """(case, grid point, seed) of every run; an overridden axis is no axis any more."""
    for case, variant in cases.items():
        own = {k: v for k, v in {**axes, **variant.get("grid", {})}.items() if k not in overrides}
        for point in _points(own):
            for seed in seeds:
                yield case, point, seed


def _points(axes: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            raise Problem(f"grid.{key} is {values!r}, but must be a list of values.")
    for chosen in itertools.product(*axes.values()):
        yield dict(zip(axes, chosen, strict=True))
