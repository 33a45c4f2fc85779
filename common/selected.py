"""Settings that a selection spec chose, in papers/<paper>/selected/<tier>.yaml: select.py writes them, specs take them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.errors import Missing, Problem, nearest
from common.places import ROOT
from common.specfiles import read, specs


def path_of(paper: str, tier: str) -> Path:
    """The file of settings that were selected for a paper at a tier."""
    return ROOT / "papers" / paper / "selected" / f"{tier}.yaml"


def taken(paper: str, tier: str, case: str, sources: tuple[str, ...] | str) -> tuple[str, dict[str, Any]]:
    """(PAPER/SPEC/CASE that chose, settings chosen) by the first source that has the case, ("", {}) where none has it.

    Errors: Problem while nothing is selected yet.

    A source is SPEC or SPEC/CASE of the paper, or PAPER/SPEC or PAPER/SPEC/CASE of another one whose method it takes.
    """
    for source in listed(sources):
        first, _, rest = source.partition("/")
        owner, name = (first, rest) if rest and specs(first) else (paper, source)
        spec, _, other = name.partition("/")
        known = everything(owner, tier)
        if spec not in known and spec not in specs(owner):
            raise Problem(f"'selected' names {spec}, but {owner} has no such spec.{nearest(spec, specs(owner))}")
        if spec not in known:
            raise Missing(
                f"Nothing is selected by {owner}/{spec} at tier {tier} yet. Run: replicate select {owner}/{spec} --tier {tier}"
            )
        if other and other not in known[spec]:
            there = ", ".join(map(str, known[spec]))
            raise Problem(f"'selected' names {source}, but {spec} selected nothing for '{other}', only for: {there}.")
        if (other or case) in known[spec]:
            return f"{owner}/{spec}/{other or case}", dict(known[spec][other or case])
    return "", {}


def everything(paper: str, tier: str) -> dict[str, Any]:
    """What was selected at a tier: spec -> case -> settings. Errors: Problem for a file that holds anything else."""
    path = path_of(paper, tier)
    known = read(path) if path.exists() else {}
    cases = [chosen for spec in known.values() for chosen in (spec.values() if isinstance(spec, dict) else [None])]
    if not all(isinstance(chosen, dict) for chosen in cases):
        raise Problem(
            f"{path} is damaged: it must hold settings by spec and case. Restore it (git checkout), or select anew."
        )
    return known


def listed(names: Iterable[str] | str) -> tuple[str, ...]:
    """One source or several, as `selected:` in a spec gives them."""
    return (names,) if isinstance(names, str) else tuple(names)
