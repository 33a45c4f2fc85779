"""From a target (`all`, PAPER or PAPER/SPEC) to the list of runs it asks for. The order of layers is in specfiles.py."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from common import ancestors, selected, weights
from common.errors import Problem, Problems, nearest
from common.resolve import part_of, resolve, resolve_collection
from common.spec import MADE, RunSpec
from common.specfiles import TIERS, load, merge, nested, papers, specs
from common.streams import data
from common.variants import cases_of, refuse_what_cases_are, variants
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
        holding = [f"{name}/{paper}" for name in papers() if paper in specs(name)]
        meant = f" Did you mean {' or '.join(holding)}?" if holding else nearest(paper, papers())
        raise Problem(f"There is no paper '{paper}'.{meant} Targets: all, {', '.join(papers())}.")
    if spec and spec not in specs(paper):
        raise Problem(f"{paper} has no spec '{spec}'.{nearest(spec, specs(paper))} Specs: {', '.join(specs(paper))}.")
    return [(paper, spec)] if spec else [(paper, name) for name in specs(paper)]


@dataclass(frozen=True)
class _Wanted:
    """What is asked of every spec of a target. seeds: None for the spec's own. case: None for all."""

    tier: str
    overrides: dict[str, Any]
    seeds: list[int] | None
    case: str | None


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
    found = _expanded(target, _Wanted(tier, overrides or {}, seeds, case), problems)
    if case is not None and not found and not problems.found:
        known = cases(target, tier)
        told = f"{nearest(case, known)} Cases: {', '.join(known) or 'none'}."
        problems.add(target, Problem(f"no spec has a case '{case}' at tier {tier}.{told}"))
    problems.refuse()
    return with_parents(found)


def _expanded(target: str, wanted: _Wanted, problems: Problems) -> list[Request]:
    """The runs of a target, without those that its analyses are of; what is wrong goes into `problems`."""
    found: list[Request] = []
    for paper, spec in targets(target):
        try:
            content = load(paper, spec)
            if wanted.tier not in content["tiers"]:
                if "/" in target:
                    raise Problem(f"it has no tier '{wanted.tier}', only: {', '.join(content['tiers'])}.")
            elif "of" in content:
                found += _analyses(paper, spec, content, wanted, problems)
            elif wanted.case is None or wanted.case in cases_of(content, wanted.tier):
                own = wanted
                if "/" not in target and "collection" in content["run"]:  # settings of training are not its own
                    fitting = {k: v for k, v in wanted.overrides.items() if k.startswith("collection.")}
                    own = replace(wanted, overrides=fitting)
                found += _requests(paper, spec, content, own, problems)
        except Problem as problem:
            problems.add(f"{paper}/{spec}", problem)
    return found


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


def _requests(paper: str, spec: str, content: dict[str, Any], wanted: _Wanted, problems: Problems) -> list[Request]:
    """One request for each case, grid point and seed of a spec that trains or collects."""
    tier, part = wanted.tier, content["tiers"][wanted.tier] or {}
    shared = merge(nested(content["run"]), nested(part.get("run", {})))
    cases = cases_of(content, tier) or {"": {}}
    cases = cases if wanted.case is None else {wanted.case: cases[wanted.case]}
    refuse_what_cases_are(cases, wanted.overrides)
    axes = {**content["grid"], **part.get("grid", {})}
    seeds = wanted.seeds if wanted.seeds is not None else seed_list(part.get("seeds", content["seeds"]))
    chosen = part.get("selected", content.get("selected", []))
    digest = _once(data.digest)  # for this call: a thousand runs on one data set look at its files once
    taken, named = _once(selected.taken), _once(_one_run)
    found = []
    for case, point, seed in variants(cases, axes, wanted.overrides, seeds):
        variant = {k: v for k, v in cases[case].items() if k not in ("grid", "selected")}
        raw = {"seed": seed} | shared
        try:
            by, settings = taken(paper, tier, case, selected.listed(cases[case].get("selected", chosen)))
            for layer in (variant, settings, point, wanted.overrides):
                raw = merge(raw, nested(layer))
            run, parents = _resolved(raw, f"{paper}/{spec}", tier, named, digest)
            found.append(Request(run, paper, spec, tier, case, parents, by))
        except Problem as problem:
            problems.add(f"{paper}/{spec}" + (f" ({case})" if case else ""), problem)
    return found


def _resolved(
    raw: dict[str, Any], place: str, tier: str, named: ancestors.Named, digest: Callable[[str], str]
) -> tuple[RunSpec, tuple[Request, ...]]:
    """(the run of those settings, the runs that it names). place: PAPER/SPEC of the spec that asks for it."""
    if "collection" in raw:
        return resolve_collection(raw, place.partition("/")[2]), ()
    maker = ancestors.maker(raw, tier, raw["seed"], place, named)
    parent = ancestors.parent(raw, tier, raw["seed"], place, named)
    start = None if parent is None else {"run": parent.run_id, "take": raw["parent"].get("take", "trunk")}
    if maker is None:
        run = resolve(raw | {"parent": start}, digest(str(raw.get("data"))))
    else:
        run = resolve(raw | {"parent": start, "data": maker.run.data}, f"{MADE}{maker.run_id}")
    run = replace(run, model=replace(run.model, settings=weights.filled(run.model.settings)))
    return run, tuple(r for r in (maker, parent) if r)


def _analyses(paper: str, spec: str, content: dict[str, Any], wanted: _Wanted, problems: Problems) -> list[Request]:
    """One request for each run of the spec that `content` is of: the run's analysis, with the run as its parent."""
    own = {key: value for key, value in wanted.overrides.items() if key.partition(".")[0] == "analysis"}
    others = {key: value for key, value in wanted.overrides.items() if key not in own}
    raw = nested(content["run"])
    for layer in ((content["tiers"][wanted.tier] or {}).get("run", {}), own):
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
    parents = _expanded(f"{paper}/{content['of']}", replace(wanted, overrides=others), problems)
    return [Request(p.run.analysed(analysis), paper, spec, wanted.tier, p.case, (p,)) for p in parents]


def _one_run(what: str, spec: str, case: str | None, tier: str, seed: Any, child: str) -> Request:
    """The run that `spec`, `case` and `seed` name. Errors: Problem when that is no one run, or `child` itself."""
    case = None if case is None else str(case)
    if ancestors.descends(spec, child):
        raise Problem(f"{what}.spec is {spec}, which makes {child} its own parent. Name another spec.")
    if case is not None and case not in (known := cases(spec, tier)):
        told = f"{nearest(str(case), known)} Cases: {', '.join(known) or 'none'}."
        raise Problem(f"{what}.case is {case!r}, which {spec} does not have at tier {tier}.{told}")
    requests = [r for r in expand(spec, tier, seeds=[seed]) if case is None or r.case == case]
    requests = [r for r in requests if f"{r.paper}/{r.spec}" == spec]
    if len(requests) != 1:
        raise Problem(f"{what}.spec {spec} at tier {tier} gives {len(requests)} runs; name one with {what}.case.")
    return requests[0]


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
