"""From a target (`all`, PAPER or PAPER/SPEC) to the list of runs it asks for. The order of layers is in specfiles.py."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from common import weights
from common.errors import Missing, Problem, Problems, nearest
from common.places import ROOT
from common.spec import MADE, RunSpec, part_of, resolve, resolve_collection
from common.specfiles import TIERS, load, merge, nested, papers, read, specs
from common.streams import data
from common.words import seed_list


@dataclass(frozen=True)
class Request:
    """One run that a target asks for, and where it stands in its paper."""

    run: RunSpec
    paper: str
    spec: str
    tier: str
    case: str
    parents: tuple["Request", ...] = field(default=(), repr=False)
    selected: str = ""  # which selection chose some of its settings: PAPER/SPEC/CASE

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.run.run_id


def targets(target: str) -> list[tuple[str, str]]:
    """(paper, spec) pairs of a target. Errors: Problem for an unknown name, with the nearest valid one."""
    if target == "all":
        return [(paper, spec) for paper in papers() for spec in specs(paper)]
    paper, _, spec = target.partition("/")
    if target.endswith((".yaml", ".yml")):
        raise Problem(f"'{target}' is a file; a target is all, PAPER or PAPER/SPEC. Papers: {', '.join(papers())}.")
    if not specs(paper):
        raise Problem(f"There is no paper '{paper}'.{nearest(paper, papers())} Targets: all, {', '.join(papers())}.")
    if spec and spec not in specs(paper):
        raise Problem(f"{paper} has no spec '{spec}'.{nearest(spec, specs(paper))} Specs: {', '.join(specs(paper))}.")
    return [(paper, spec)] if spec else [(paper, name) for name in specs(paper)]


def expand(
    target: str,
    tier: str,
    overrides: dict[str, Any] | None = None,
    seeds: list[int] | None = None,
    case: str | None = None,
) -> list[Request]:
    """Every run of a target at a tier, parents first. Errors: one Problem with everything wrong in all of them.

    A target that names one spec must have the tier (and the case, where one is asked for); of `all` and a paper, specs
    without it are passed over. overrides, seeds: laid over the specs' own.
    """
    if tier not in TIERS:
        raise Problem(f"There is no tier '{tier}'.{nearest(tier, TIERS)} Tiers: {', '.join(TIERS)}.")
    problems = Problems()
    found = _expanded(target, tier, overrides or {}, seeds, case, problems)
    if case is not None and not found and not problems.found:
        known = cases(target, tier)
        told = f"{nearest(case, known)} Cases: {', '.join(known) or 'none'}."
        problems.add(target, Problem(f"no spec has a case '{case}' at tier {tier}.{told}"))
    problems.refuse()
    return with_parents(found)


def _expanded(
    target: str,
    tier: str,
    overrides: dict[str, Any],
    seeds: list[int] | None,
    case: str | None,
    problems: Problems,
) -> list[Request]:
    """The runs of a target, without those that its analyses are of; what is wrong goes into `problems`."""
    found: list[Request] = []
    for paper, spec in targets(target):
        try:
            content = load(paper, spec)
            if tier not in content["tiers"]:
                if "/" in target:
                    raise Problem(f"it has no tier '{tier}', only: {', '.join(content['tiers'])}.")
            elif "of" in content:
                found += _analyses(paper, spec, tier, content, overrides, seeds, case, problems)
            elif case is None or case in cases_of(content, tier):
                whole = "/" not in target and "collection" in content["run"]  # settings of training are not its own
                own = {k: v for k, v in overrides.items() if k.startswith("collection.")} if whole else overrides
                found += _requests(paper, spec, tier, content, own, seeds, case, problems)
        except Problem as problem:
            problems.add(f"{paper}/{spec}", problem)
    return found


def cases_of(content: dict[str, Any], tier: str) -> dict[str, Any]:
    """Cases of a spec at a tier. One that a tier sets to null is none there, one of the spec's that is null is nowhere."""
    if "of" in content:
        return cases_of(load(content["paper"], content["of"]), tier)
    own = (content["tiers"].get(tier) or {}).get("cases", {})
    gone = {k for k, v in content["cases"].items() if v is None}
    return {k: v for k, v in merge(content["cases"], own).items() if v is not None and k not in gone}


def cases(target: str, tier: str) -> list[str]:
    """Names of all cases of a target's specs at a tier."""
    return sorted({case for paper, spec in targets(target) for case in cases_of(load(paper, spec), tier)})


def with_parents(requests: list[Request]) -> list[Request]:
    """The requests and their parents, each once per place in a paper, every parent before its children."""
    ordered: dict[tuple[str, str, str], Request] = {}
    for request in requests:
        for one in (*with_parents(list(request.parents)), request):
            ordered.setdefault((one.run_id, f"{one.paper}/{one.spec}", one.case), one)
    return list(ordered.values())


def _requests(
    paper: str,
    spec: str,
    tier: str,
    content: dict[str, Any],
    overrides: dict[str, Any],
    seeds: list[int] | None,
    only: str | None,
    problems: Problems,
) -> list[Request]:
    part = content["tiers"][tier] or {}
    shared = merge(nested(content["run"]), nested(part.get("run", {})))
    cases = cases_of(content, tier) or {"": {}}
    cases = cases if only is None else {only: cases[only]}
    _not_what_cases_are(cases, overrides)
    axes = {**content["grid"], **part.get("grid", {})}
    wanted = seeds if seeds is not None else seed_list(part.get("seeds", content["seeds"]))
    chosen = part.get("selected", content.get("selected", []))
    found = []
    digest = _once(data.digest)  # for this call: a thousand runs on one data set look at its files once
    taken, named = _once(selected), _once(_one_run)
    for case, point, seed in _variants(cases, axes, overrides, wanted):
        variant = {k: v for k, v in cases[case].items() if k not in ("grid", "selected")}
        raw = shared
        try:
            by, settings = taken(paper, tier, case, _listed(cases[case].get("selected", chosen)))
            for layer in (variant, settings, point, overrides):
                raw = merge(raw, nested(layer))
            if "collection" in raw:
                found.append(Request(resolve_collection({"seed": seed, **raw}, spec), paper, spec, tier, case))
                continue
            maker = _maker(raw, tier, raw.get("seed", seed), f"{paper}/{spec}", named)
            parent = _parent(raw, tier, raw.get("seed", seed), f"{paper}/{spec}", named)
            identity = {
                "parent": None if parent is None else {"run": parent.run_id, "take": raw["parent"].get("take", "trunk")}
            }
            if maker is None:
                run = resolve({"seed": seed, **raw, **identity}, digest(str(raw.get("data"))))
            else:
                run = resolve({"seed": seed, **raw, **identity, "data": maker.run.data}, f"{MADE}{maker.run_id}")
            run = replace(run, model=replace(run.model, settings=weights.filled(run.model.settings)))
            found.append(Request(run, paper, spec, tier, case, tuple(r for r in (maker, parent) if r), by))
        except Problem as problem:
            problems.add(f"{paper}/{spec}" + (f" ({case})" if case else ""), problem)
    return found


def _analyses(
    paper: str,
    spec: str,
    tier: str,
    content: dict[str, Any],
    overrides: dict[str, Any],
    seeds: list[int] | None,
    case: str | None,
    problems: Problems,
) -> list[Request]:
    """One request for each run of the spec that `content` is of: the run's analysis, with the run as its parent."""
    own = {key: value for key, value in overrides.items() if key.partition(".")[0] == "analysis"}
    others = {key: value for key, value in overrides.items() if key not in own}
    raw = nested(content["run"])
    for layer in ((content["tiers"][tier] or {}).get("run", {}), own):
        raw = merge(raw, nested(layer))
    wrong = [f"'{key}' is no setting of an analysis; it goes into {content['of']}." for key in raw if key != "analysis"]
    analysis = part_of("analysis", raw.get("analysis"), wrong)
    if wrong or analysis is None:
        raise Problem(*wrong)
    read = {k: v for k, v in analysis.settings.items() if v and (k == "data" or k.endswith("_data"))}
    digests = "".join(
        f" {name}={data.digest(name)[:12]}" for name in read.values()
    )  # what it reads is part of what it is
    analysis = replace(analysis, version=analysis.version + digests)
    of = f"{paper}/{content['of']}"
    parents = _expanded(of, tier, others, seeds, case, problems)
    return [Request(p.run.analysed(analysis), paper, spec, tier, p.case, (p,)) for p in parents]


def _once(look: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its answers kept, refusals too."""
    kept: dict[tuple[Any, ...], Any] = {}

    def answer(*words: Any) -> Any:
        if words not in kept:
            try:
                kept[words] = look(*words)
            except Problem as problem:
                kept[words] = problem
        if isinstance(kept[words], Problem):
            raise kept[words]
        return kept[words]

    return answer


def _listed(names: Iterable[str] | str) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _not_what_cases_are(cases: dict[str, Any], overrides: dict[str, Any]) -> None:
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


def _variants(
    cases: dict[str, Any], axes: dict[str, list[Any]], overrides: dict[str, Any], seeds: list[int]
) -> Iterator[tuple[str, dict[str, Any], int]]:
    """(case, grid point, seed) of every run; an overridden axis is no axis any more."""
    for case, variant in cases.items():
        own = {k: v for k, v in {**axes, **variant.get("grid", {})}.items() if k not in overrides}
        for point in _points(own):
            for seed in seeds:
                yield case, point, seed


def selected_path(paper: str, tier: str) -> Path:
    """The file of settings that were selected for a paper at a tier."""
    return ROOT / "papers" / paper / "selected" / f"{tier}.yaml"


def selected(paper: str, tier: str, case: str, sources: tuple[str, ...] | str) -> tuple[str, dict[str, Any]]:
    """(PAPER/SPEC/CASE that chose, settings chosen) by the first source that has the case, ("", {}) where none has it.

    Errors: Problem while nothing is selected yet.

    A source is SPEC or SPEC/CASE of the paper, or PAPER/SPEC or PAPER/SPEC/CASE of another one whose method it takes.
    """
    for source in _listed(sources):
        first, _, rest = source.partition("/")
        owner, name = (first, rest) if rest and specs(first) else (paper, source)
        spec, _, other = name.partition("/")
        known = all_selected(owner, tier)
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


def all_selected(paper: str, tier: str) -> dict[str, Any]:
    """What was selected at a tier: spec -> case -> settings. Errors: Problem for a file that holds anything else."""
    path = selected_path(paper, tier)
    known = read(path) if path.exists() else {}
    cases = [chosen for spec in known.values() for chosen in (spec.values() if isinstance(spec, dict) else [None])]
    if not all(isinstance(chosen, dict) for chosen in cases):
        raise Problem(
            f"{path} is damaged: it must hold settings by spec and case. Restore it (git checkout), or select anew."
        )
    return known


Named = Callable[..., Request]  # _one_run with its answers kept


def _parent(raw: dict[str, Any], tier: str, seed: Any, child: str, named: Named) -> Request | None:
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


def _maker(raw: dict[str, Any], tier: str, seed: Any, child: str, named: Named) -> Request | None:
    """The run that makes the data: `data: {spec: PAPER/SPEC, case: ..., seed: ...}`; None for a named data set."""
    given = raw.get("data")
    if not isinstance(given, dict):
        return None
    if not isinstance(given.get("spec"), str) or given.keys() - {"spec", "case", "seed"}:
        raise Problem(
            f"data is {given!r}, but must be the name of a data set, or a mapping with spec (PAPER/SPEC) of a run that collects "
            "data and, where wanted, case, seed."
        )
    maker = named("data", given["spec"], given.get("case"), tier, given.get("seed", seed), child)
    if maker.run.collection is None:
        raise Problem(f"data.spec is {given['spec']}, which collects no data. Name a spec with a collection.")
    return maker


def _one_run(what: str, spec: str, case: str | None, tier: str, seed: Any, child: str) -> Request:
    """The run that `spec`, `case` and `seed` name. Errors: Problem when that is no one run, or `child` itself."""
    if _descends(spec, child):
        raise Problem(f"{what}.spec is {spec}, which makes {child} its own parent. Name another spec.")
    if case is not None and case not in (known := cases(spec, tier)):
        told = f"{nearest(str(case), known)} Cases: {', '.join(known) or 'none'}."
        raise Problem(f"{what}.case is {case!r}, which {spec} does not have at tier {tier}.{told}")
    requests = [r for r in expand(spec, tier, seeds=[seed]) if case is None or r.case == case]
    requests = [r for r in requests if f"{r.paper}/{r.spec}" == spec]
    if len(requests) != 1:
        raise Problem(f"{what}.spec {spec} at tier {tier} gives {len(requests)} runs; name one with {what}.case.")
    return requests[0]


def _descends(spec: str, child: str) -> bool:
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


def _points(axes: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            raise Problem(f"grid.{key} is {values!r}, but must be a list of values.")
    for chosen in itertools.product(*axes.values()):
        yield dict(zip(axes, chosen, strict=True))
