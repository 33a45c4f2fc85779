"""Spec files: what they hold and how one extends another.

A spec file holds: about (one sentence), run (what all runs share), seeds, cases (named variants), grid (axes), and tiers,
each of which may give its own run, seeds, cases and grid. `extends: _file.yaml` takes another file of the folder first;
whatever the extending file says wins over what that file says of the same, in its tiers too.
Later wins: run, the tier's run, the case, the tier's case, what was selected, the grid point, the command line. A part
that gives another `name` replaces the part; otherwise its settings are merged. A case may bring a grid and a `selected` of its own.
`extends` may name a file of another paper (`../../<paper>/specs/<file>.yaml`): what asks for the same runs shares them.
`selected: [SPEC, ...]` takes the settings that `replicate select PAPER/SPEC` chose for the case of that name, or with
SPEC/CASE for another one (papers/<paper>/selected/<tier>.yaml); PAPER/SPEC and PAPER/SPEC/CASE take those of another paper.

`of: SPEC` makes a spec of analyses: each run of that spec of the same paper is analysed by `run: {analysis: {name: ...}}`.
It has no seeds, cases or grid of its own; seeds, --case and overrides go to the runs that are analysed.

`run: {collection: {name: ...}}` makes a spec of runs that make data. Another spec takes them: `data: {spec: PAPER/SPEC}`, with
case and seed where there are several (common/products.py).
"""

import contextlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from common.errors import Problem, nearest
from common.files import read_json, sha256_bytes, write_atomic
from common.places import ROOT, cache_dir

TIERS = ("smoke", "small", "full")
KEYS = {"about", "extends", "run", "seeds", "cases", "grid", "tiers", "selected", "of"}
MAPPINGS = {"run", "cases", "grid", "tiers"}
TIER_KEYS = {"run", "seeds", "cases", "grid", "selected"}


def papers() -> list[str]:
    """Names of the papers present, one a folder with specs."""
    return sorted(p.parent.name for p in (ROOT / "papers").glob("*/specs") if any(p.glob("[!_]*.yaml")))


def specs(paper: str) -> list[str]:
    """Names of a paper's specs."""
    return sorted(p.stem for p in (ROOT / "papers" / paper / "specs").glob("[!_]*.yaml"))


def load(paper: str, spec: str) -> dict[str, Any]:
    """A spec file with what it extends merged in. Errors: Problem for what is no YAML, no mapping or an unknown key."""
    content = read(ROOT / "papers" / paper / "specs" / f"{spec}.yaml")
    wrong = _misshapen(content)
    if wrong:
        raise Problem(*wrong)
    own = _own_tiers(paper, spec)
    content["tiers"] = {tier: part for tier, part in content.get("tiers", {}).items() if tier in own}
    if not content["tiers"]:
        raise Problem(
            f"{paper}/{spec} names no tier, so it would never run. Give it tiers: {{smoke: {{}}}}, or small, or full."
        )
    for part in (content, *content["tiers"].values()):
        if "cases" in part:  # YAML reads the name 5 as a number
            part["cases"] = {str(name): variant for name, variant in part["cases"].items()}
    if "of" in content:
        _check_of(paper, spec, content["of"])
    return {"run": {}, "seeds": [0], "cases": {}, "grid": {}, "tiers": {}, "paper": paper, **content}


def unreadable(paper: str) -> dict[str, list[str]]:
    """What is wrong with the files of a paper's specs, of those alone that cannot be read."""
    found = {}
    for spec in specs(paper):
        try:
            load(paper, spec)
        except Problem as problem:
            found[spec] = problem.messages
    return found


def _check_of(paper: str, spec: str, of: Any) -> None:
    """Nothing. Errors: Problem for an `of` that names no spec of runs that train."""
    if of not in specs(paper):
        raise Problem(f"of is {of!r}, but {paper} has no such spec.{nearest(str(of), specs(paper))}")
    if of == spec or "of" in read(ROOT / "papers" / paper / "specs" / f"{of}.yaml"):
        raise Problem(f"of is {of!r}, which is itself a spec of analyses. Name a spec whose runs train.")


def _misshapen(content: dict[str, Any]) -> list[str]:
    """Sentences on keys that a spec cannot have and on values of the wrong shape."""
    wrong = [
        f"'{k}' is no key of a spec.{nearest(str(k), KEYS)} Allowed: {', '.join(sorted(KEYS))}."
        for k in content
        if k not in KEYS
    ]
    if not isinstance(content.get("about", ""), str):
        wrong.append(f"'about' must be a sentence, but is {content['about']!r}.")
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
        if "of" in content and (own := sorted(part.keys() & {"seeds", "cases", "grid", "selected"})):
            wrong.append(
                f"A spec of analyses (of: {content['of']}) takes {', '.join(own)} from the spec that it is of."
            )
        chosen = part.get("selected", [])
        if not isinstance(chosen, str | list) or not all(isinstance(name, str) for name in chosen):
            wrong.append(f"'selected' must be the name of a spec or a list of them, but is {part['selected']!r}.")
    return wrong


def _own_tiers(paper: str, spec: str) -> set[str]:
    """Tiers that the file names itself; what it extends only says how they look."""
    own = _yaml(ROOT / "papers" / paper / "specs" / f"{spec}.yaml").get("tiers")
    return set(own) if isinstance(own, dict) else set()


def read(path: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A YAML mapping with what it extends merged in. Errors: Problem for what is no YAML or no mapping."""
    if path in below:
        raise Problem(f"{path} extends itself. Name another file in its 'extends'.")
    content = dict(_yaml(path))
    if "extends" in content:
        named = str(content.pop("extends"))
        other = Path(os.path.normpath(path.parent / named))
        if not other.is_file():
            near = nearest(named, (os.path.relpath(p, path.parent) for p in other.parent.glob("*.yaml") if p != path))
            raise Problem(
                f"{path} extends '{named}', but {other} is missing. The path counts from the folder of the file that says it.{near}"
            )
        base = read(other, (*below, path))
        if isinstance(tiers := base.get("tiers"), dict):
            base["tiers"] = {tier: _yielding(part, content) for tier, part in tiers.items()}
        content = merge(base, content)
    return content


def _yielding(part: Any, over: dict[str, Any]) -> Any:
    """A tier of a file as the file that extends it takes it: what that one says for all its tiers is not overruled here."""
    if not isinstance(part, dict):
        return part  # what is wrong with it is said later
    kept = {key: value for key, value in part.items() if key not in {"seeds", "selected"} & over.keys()}
    for key in ("run", "cases", "grid"):
        old, new = part.get(key), over.get(key)
        if not isinstance(old, dict) or not isinstance(new, dict):
            continue
        if key == "run":
            kept[key] = merge(nested(old), nested(new))
        elif key == "grid":
            kept[key] = {axis: values for axis, values in old.items() if axis not in new}
        else:  # a case that the tier leaves out stays out
            kept[key] = {case: _case(own, new.get(case)) for case, own in old.items()}
    return kept


def _case(old: Any, new: Any) -> Any:
    """A case with another of its name laid on it, however each writes its settings; the axes of a grid keep their names."""
    if not all(isinstance(one, dict) and isinstance(one.get("grid", {}), dict) for one in (old, new)):
        return old  # what is wrong is said later
    settings = (nested({key: value for key, value in one.items() if key != "grid"}) for one in (old, new))
    grids = {"grid": merge(old.get("grid", {}), new.get("grid", {}))} if "grid" in {*old, *new} else {}
    return merge(*settings) | grids


def _yaml(path: Path) -> dict[str, Any]:
    try:
        return dict(_copied(_parsed(path, path.stat().st_mtime_ns)))
    except FileNotFoundError:
        raise Problem(f"{path.name} is missing in {path.parent}.") from None


def _copied(value: Any) -> Any:
    """The same mappings and lists anew (a fifth of the time of copy.deepcopy, which looks for cycles and classes)."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    return [_copied(one) for one in value] if isinstance(value, list) else value


@cache
def _parsed(path: Path, changed: int) -> dict[str, Any]:
    """The content of a file, read once for as long as it does not change; kept by its bytes, as reading YAML takes long."""
    try:
        kept = cache_dir() / "specs" / f"{sha256_bytes(path.read_bytes())[:32]}.json"
    except OSError:
        return _of_yaml(path)  # which says what is wrong
    with contextlib.suppress(OSError, ValueError, Problem):
        if isinstance(content := read_json(kept), dict):
            return content
    content = _of_yaml(path)
    text = json.dumps(content, default=str)  # in the order of the file: cases and axes have one
    if json.loads(text) == content:  # keys that are no texts would come back as texts
        with contextlib.suppress(OSError, Problem):
            write_atomic(kept, text)
    return content


def _of_yaml(path: Path) -> dict[str, Any]:
    """The content of a file. Errors: Problem when it is no YAML or no mapping; FileNotFoundError."""
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
