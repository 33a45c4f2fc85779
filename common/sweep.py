"""From a target (`all`, PAPER or PAPER/SPEC) to the list of runs it asks for.

A spec file holds: about (one sentence), run (what all runs share), seeds, cases (named variants), grid (axes), and tiers,
each of which may give its own run, seeds, cases and grid. `extends: _file.yaml` takes another file of the folder first.
Later wins: run, the tier's run, the case, the tier's case, what was selected, the grid point, the command line. A part
that gives another `name` replaces the part; otherwise its settings are merged. A case may bring a grid and a `selected` of its own.
`selected: [SPEC, ...]` takes the settings that `replicate select PAPER/SPEC` chose for the case of that name, or with
SPEC/CASE for another one (papers/<paper>/selected/<tier>.yaml).
"""

import copy
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from common import parts
from common.errors import Problem, nearest
from common.places import ROOT
from common.spec import RunSpec, resolve
from common.streams import data

TIERS = ("smoke", "small", "full")
MOST_SEEDS = 100_000  # of one request; more is a slip of the finger
KEYS = {"about", "extends", "run", "seeds", "cases", "grid", "tiers", "selected"}
MAPPINGS = {"run", "cases", "grid", "tiers"}
TIER_KEYS = {"run", "seeds", "cases", "grid", "selected"}


@dataclass(frozen=True)
class Request:
    """One run that a target asks for, and where it stands in its paper."""

    run: RunSpec
    paper: str
    spec: str
    tier: str
    case: str
    parents: tuple["Request", ...] = field(default=(), repr=False)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.run.run_id


def papers() -> list[str]:
    """Names of the papers present, one a folder with specs."""
    return sorted(p.parent.name for p in (ROOT / "papers").glob("*/specs") if any(p.glob("[!_]*.yaml")))


def specs(paper: str) -> list[str]:
    """Names of a paper's specs."""
    return sorted(p.stem for p in (ROOT / "papers" / paper / "specs").glob("[!_]*.yaml"))


def targets(target: str) -> list[tuple[str, str]]:
    """(paper, spec) pairs of a target. Errors: Problem for an unknown name, with the nearest valid one."""
    if target == "all":
        return [(paper, spec) for paper in papers() for spec in specs(paper)]
    paper, _, spec = target.partition("/")
    if paper not in papers():
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
    found: list[Request] = []
    problems: list[str] = []
    for paper, spec in targets(target):
        try:
            content = load(paper, spec)
            if tier not in content["tiers"]:
                if "/" in target:
                    problems.append(f"{paper}/{spec} has no tier '{tier}'; it has: {', '.join(content['tiers'])}.")
                continue
            if case is not None and case not in _cases_of(content, tier):
                continue
            found += _requests(paper, spec, tier, content, overrides or {}, seeds, case, problems)
        except Problem as problem:
            problems += [f"{paper}/{spec}: {message}" for message in problem.messages]
    if case is not None and not found and not problems:
        problems.append(f"No spec of {target} has a case '{case}' at tier {tier}.{nearest(case, _cases(target, tier))}")
    if problems:
        raise Problem(*dict.fromkeys(problems))
    return with_parents(found)


def _cases_of(content: dict[str, Any], tier: str) -> dict[str, Any]:
    """Cases of a spec at a tier; one that a tier or an extending file sets to null is none."""
    own = (content["tiers"].get(tier) or {}).get("cases", {})
    return {k: v for k, v in merge(content["cases"], own).items() if v is not None}


def _cases(target: str, tier: str) -> list[str]:
    return sorted({case for paper, spec in targets(target) for case in _cases_of(load(paper, spec), tier)})


def with_parents(requests: list[Request]) -> list[Request]:
    """The requests and their parents, each once per place in a paper, every parent before its children."""
    ordered: dict[tuple[str, str, str], Request] = {}
    for request in requests:
        for one in (*with_parents(list(request.parents)), request):
            ordered.setdefault((one.run_id, f"{one.paper}/{one.spec}", one.case), one)
    return list(ordered.values())


def load(paper: str, spec: str) -> dict[str, Any]:
    """A spec file with what it extends merged in. Errors: Problem for what is no YAML, no mapping or an unknown key."""
    content = _read(ROOT / "papers" / paper / "specs" / f"{spec}.yaml")
    wrong = _misshapen(content)
    if wrong:
        raise Problem(*wrong)
    content["tiers"] = {
        tier: part for tier, part in content.get("tiers", {}).items() if tier in _own_tiers(paper, spec)
    }
    return {"run": {}, "seeds": [0], "cases": {}, "grid": {}, "tiers": {}, **content}


def _misshapen(content: dict[str, Any]) -> list[str]:
    """Sentences on keys that a spec cannot have and on values of the wrong shape."""
    wrong = [
        f"'{k}' is no key of a spec.{nearest(str(k), KEYS)} Allowed: {', '.join(sorted(KEYS))}."
        for k in content
        if k not in KEYS
    ]
    tiers = content.get("tiers", {})
    for tier, part in tiers.items() if isinstance(tiers, dict) else ():
        if tier not in TIERS:
            wrong.append(f"'{tier}' is no tier.{nearest(str(tier), TIERS)} Tiers: {', '.join(TIERS)}.")
        elif not isinstance(part, dict) or part.keys() - TIER_KEYS:
            wrong.append(f"Tier '{tier}' must be a mapping with: {', '.join(sorted(TIER_KEYS))}.")
    parts_ = [content, *(p for p in (tiers.values() if isinstance(tiers, dict) else ()) if isinstance(p, dict))]
    for part in parts_:
        for key in MAPPINGS & part.keys():
            if not isinstance(part[key], dict):
                wrong.append(f"'{key}' must be a mapping, but is {part[key]!r}.")
        cases = part.get("cases")
        for case, variant in cases.items() if isinstance(cases, dict) else ():
            if not isinstance(variant, dict | None) or not isinstance((variant or {}).get("grid", {}), dict):
                wrong.append(f"The case '{case}' must be a mapping of settings (its grid too), but is {variant!r}.")
        if not isinstance(part.get("selected", []), str | list):
            wrong.append(f"'selected' must be the name of a spec or a list of them, but is {part['selected']!r}.")
    return wrong


def _own_tiers(paper: str, spec: str) -> set[str]:
    """Tiers that the file names itself; what it extends only says how they look."""
    own = _yaml(ROOT / "papers" / paper / "specs" / f"{spec}.yaml").get("tiers")
    return set(own) if isinstance(own, dict) else set()


def _read(path: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    if path in below:
        raise Problem(f"{path} extends itself. Name another file in its 'extends'.")
    content = dict(_yaml(path))
    if "extends" in content:
        content = merge(_read(path.parent / str(content.pop("extends")), (*below, path)), content)
    return content


def _yaml(path: Path) -> dict[str, Any]:
    try:
        return copy.deepcopy(_parsed(path, path.stat().st_mtime_ns))
    except FileNotFoundError:
        raise Problem(f"{path.name} is missing in {path.parent}.") from None


@cache
def _parsed(path: Path, changed: int) -> dict[str, Any]:
    """The content of a file, read once for as long as it does not change."""
    import omegaconf
    import yaml

    try:
        content = omegaconf.OmegaConf.to_container(omegaconf.OmegaConf.load(path), resolve=True)
    except FileNotFoundError:
        raise
    except (yaml.YAMLError, omegaconf.errors.OmegaConfBaseException, OSError, ValueError) as error:
        raise Problem(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(content, dict):
        raise Problem(
            f"{path} holds a {type(content).__name__}, but must be a mapping with: {', '.join(sorted(KEYS))}."
        )
    return content  # type: ignore[return-value]


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on it; a mapping that names another `name` replaces its counterpart."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(value, dict) and isinstance(old, dict)
        renamed = both and "name" in old and value.get("name", old["name"]) != old["name"]  # type: ignore[operator,index]
        merged[key] = merge(old, value) if both and not renamed else value  # type: ignore[arg-type]
    return merged


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """{"learner.alpha": 1} -> {"learner": {"alpha": 1}}; nested mappings stay."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *way, last = str(key).split(".")
        branch: dict[str, Any] = {}
        leaf = branch
        for word in way:
            leaf = leaf.setdefault(word, {})
        leaf[last] = nested(value) if isinstance(value, dict) else value
        tree = merge(tree, branch)
    return tree


def _requests(
    paper: str,
    spec: str,
    tier: str,
    content: dict[str, Any],
    overrides: dict[str, Any],
    seeds: list[int] | None,
    only: str | None,
    problems: list[str],
) -> list[Request]:
    part = content["tiers"][tier] or {}
    common = merge(nested(content["run"]), nested(part.get("run", {})))
    cases = _cases_of(content, tier) or {"": {}}
    cases = cases if only is None else {only: cases[only]}
    axes = {**content["grid"], **part.get("grid", {})}
    wanted = seeds if seeds is not None else seed_list(part.get("seeds", content["seeds"]))
    chosen = part.get("selected", content.get("selected", []))
    found = []
    digest = cache(data.digest)  # for this call: a thousand runs on one data set look at its files once
    for case, point, seed in _variants(cases, axes, overrides, wanted):
        variant = {k: v for k, v in cases[case].items() if k not in ("grid", "selected")}
        raw = common
        for layer in (variant, selected(paper, tier, case, cases[case].get("selected", chosen)), point, overrides):
            raw = merge(raw, nested(layer))
        try:
            parent = _parent(raw, tier, raw.get("seed", seed), f"{paper}/{spec}")
            identity = {
                "parent": None if parent is None else {"run": parent.run_id, "take": raw["parent"].get("take", "trunk")}
            }
            run = resolve({"seed": seed, **raw, **identity}, digest(str(raw.get("data"))))
            found.append(Request(run, paper, spec, tier, case, () if parent is None else (parent,)))
        except Problem as problem:
            label = f"{paper}/{spec}" + (f" ({case})" if case else "")
            problems += [f"{label}: {message}" for message in problem.messages]
    return found


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


def selected(paper: str, tier: str, case: str, sources: list[str] | str) -> dict[str, Any]:
    """Settings chosen for a case by the first source that has it. Errors: Problem while nothing is selected yet."""
    sources = [sources] if isinstance(sources, str) else sources
    if not sources:
        return {}
    path = selected_path(paper, tier)
    known = _read(path) if path.exists() else {}
    for source in sources:
        spec, _, other = source.partition("/")
        if spec not in known:
            raise Problem(
                f"Nothing is selected by {paper}/{spec} at tier {tier} yet. Run: replicate select {paper}/{spec} --tier {tier}"
            )
        if (other or case) in known[spec]:
            return dict(known[spec][other or case])
    return {}


def _parent(raw: dict[str, Any], tier: str, seed: Any, child: str) -> Request | None:
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
    if _descends(given["spec"], child):
        raise Problem(f"parent.spec is {given['spec']}, which makes {child} its own parent. Name another spec.")
    requests = [
        r for r in expand(given["spec"], tier, seeds=[given.get("seed", seed)]) if r.case == given.get("case", r.case)
    ]
    requests = [r for r in requests if f"{r.paper}/{r.spec}" == given["spec"]]
    if len(requests) != 1:
        raise Problem(
            f"parent.spec {given['spec']} at tier {tier} gives {len(requests)} runs; name one with parent.case."
        )
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
    """Every `parent: {spec: ...}` or `parent.spec: ...` anywhere in a spec."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key == "parent.spec" and isinstance(inner, str):
            yield inner
        if key == "parent" and isinstance(inner, dict) and isinstance(inner.get("spec"), str):
            yield inner["spec"]
        yield from _parents_named(inner)


def _points(axes: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for key, values in axes.items():
        if not isinstance(values, list) or not values:
            raise Problem(f"grid.{key} is {values!r}, but must be a list of values.")
    for chosen in itertools.product(*axes.values()):
        yield dict(zip(axes, chosen, strict=True))


def seed_list(given: Any) -> list[int]:
    """[0, 1, 2] of [0, 1, 2], "0-2", "0,1,2" or 3 (the one seed). Errors: Problem for anything else."""
    if isinstance(given, int):
        return [given]
    try:
        words = given.split(",") if isinstance(given, str) else list(given)
        spans = [str(word).split("-") for word in words]
        ranges = [range(int(span[0]), int(span[-1]) + 1) for span in spans]
        if sum(map(len, ranges)) > MOST_SEEDS:
            raise Problem(f"seeds are {given!r}; give at most {MOST_SEEDS} of them, as 0-4 or 0,1,2.")
        seeds = [seed for one in ranges for seed in one]
    except (TypeError, ValueError, AttributeError, OverflowError):
        seeds = []
    if not seeds:
        raise Problem(f"seeds are {given!r}; give them as 0-4 or 0,1,2.")
    return seeds


def parse_overrides(words: list[str]) -> dict[str, Any]:
    """{"learner.alpha": 0.3} of ["learner.alpha=0.3"], values read as YAML. Errors: Problem for a word without '='."""
    import yaml

    wrong = [
        f"'{word}' is no override; write key=value, such as learner.alpha=0.3." for word in words if "=" not in word
    ]
    if wrong:
        raise Problem(*wrong)
    found = {}
    for word in words:
        key, _, value = word.partition("=")
        head = key.split(".")[0]
        if head not in (*parts.KINDS, "data", "budget", "evaluation", "seed", "precision", "parent"):
            wrong.append(
                f"'{key}' is no setting of a run.{nearest(key, ALL_KEYS)} "
                "Settings look like learner.alpha, stream.tasks, budget.batch."
            )
        try:
            found[key] = _number(yaml.safe_load(value))
        except yaml.YAMLError:
            wrong.append(f"The value of {key} is '{value}', which cannot be read. Quote it, such as {key}='\"text\"'.")
    if wrong:
        raise Problem(*wrong)
    return found


def _number(value: Any) -> Any:
    """1e-3 as the number it means: YAML 1.1 alone would take it for a text, unlike in spec files."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value):
        return float(value)
    return [_number(v) for v in value] if isinstance(value, list) else value


ALL_KEYS = (
    "data", "seed", "precision", "learner.name", "learner.alpha", "learner.memory", "learner.strength", "model.name",
    "model.hidden", "stream.name", "stream.tasks", "stream.degrees", "optimiser.lr", "optimiser.momentum",
    "budget.batch", "budget.iterations", "budget.epochs", "evaluation.every", "evaluation.samples", "evaluation.gradients",
)  # fmt: skip
