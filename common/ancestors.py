"""The runs that a spec names: the one that it starts from, and the one that makes its data."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from common.errors import Problem
from common.specfiles import load, papers, specs

if TYPE_CHECKING:
    from common.sweep import Request

Named = Callable[..., "Request"]  # the one run that words name (sweep.one_run)


def parent(raw: dict[str, Any], tier: str, seed: Any, child: str, named: Named) -> "Request | None":
    """The one run that a spec starts from: `parent: {spec: PAPER/SPEC, case: ..., seed: ..., take: trunk | all}`."""
    given = raw.get("parent")
    if given is None:
        return None
    allowed = {"spec", "case", "seed", "take"}
    if (
        not isinstance(given, dict)
        or not isinstance(given.get("spec"), str)
        or given.keys() - allowed
        or given.get("take", "trunk") not in ("trunk", "all")
    ):
        raise Problem(
            f"parent is {given!r}, but must be a mapping with spec (PAPER/SPEC) and, where wanted, case, seed, take (trunk or all)."
        )
    return named("parent", given["spec"], given.get("case"), tier, given.get("seed", seed), child)


def maker(raw: dict[str, Any], tier: str, seed: Any, child: str, named: Named) -> "Request | None":
    """The run that makes the data: `data: {spec: PAPER/SPEC, case: ..., seed: ...}`; None for a named data set."""
    given = raw.get("data")
    if not isinstance(given, dict):
        return None
    if not isinstance(given.get("spec"), str) or given.keys() - {"spec", "case", "seed"}:
        raise Problem(
            f"data is {given!r}, but must be the name of a data set, or a mapping with spec (PAPER/SPEC) of a run that collects "
            "data and, where wanted, case, seed."
        )
    made = named("data", given["spec"], given.get("case"), tier, given.get("seed", seed), child)
    if made.run.collection is None:
        raise Problem(f"data.spec is {given['spec']}, which collects no data. Name a spec with a collection.")
    return made


def descends(spec: str, child: str) -> bool:
    """Whether `spec` is `child` or names it as a parent, itself or through the specs that it names."""
    waiting, met = [spec], set()
    while waiting:
        name = waiting.pop()
        if name == child:
            return True
        paper, _, stem = name.partition("/")
        if name not in met and paper in papers() and stem in specs(paper):
            met.add(name)
            waiting += _parents_named(load(paper, stem))
    return False


def _parents_named(value: Any) -> Iterator[str]:
    """Every `parent: {spec: ...}` or `parent.spec: ...` anywhere in a spec; of `data` too."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key in ("parent.spec", "data.spec") and isinstance(inner, str):
            yield inner
        if key in ("parent", "data") and isinstance(inner, dict) and isinstance(inner.get("spec"), str):
            yield inner["spec"]
        yield from _parents_named(inner)
