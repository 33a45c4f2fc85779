"""From nested plain dictionaries, as YAML gives them, to a RunSpec, with everything that is wrong said at once."""

import dataclasses
from typing import Any

from common import parts
from common.errors import Problem, nearest
from common.limits import impossible, out_of_range
from common.spec import Budget, Evaluation, PartSpec, RunSpec, collected

FIELDS = ("data", *parts.KINDS, "augmentation", "budget", "evaluation", "seed", "precision", "parent")
PRECISIONS = ("32", "bf16-mixed")


def resolve(raw: dict[str, Any], digest: str) -> RunSpec:
    """The RunSpec of nested plain dictionaries (as YAML gives them). Errors: one Problem with everything wrong in it.

    digest: content digest of the data set `raw["data"]`, part of the run's identity.
    """
    problems = [
        f"'{key}' is no part of a run.{nearest(str(key), FIELDS)} Allowed: {', '.join(FIELDS)}."
        for key in raw.keys() - set(FIELDS)
    ]
    chosen: Any = {kind: part_of(kind, raw.get(kind), problems) for kind in parts.KINDS}
    if raw.get("augmentation") is not None:
        chosen["augmentation"] = part_of("augmentation", raw["augmentation"], problems)
    budget = _typed(Budget, "budget", raw.get("budget"), problems)
    evaluation = _typed(Evaluation, "evaluation", raw.get("evaluation", {}), problems)
    values = {"data": raw.get("data"), "seed": raw.get("seed", 0), "precision": str(raw.get("precision", "32"))}
    for key, annotation in (("data", "str"), ("seed", "int")):
        if not parts.fit(values[key], annotation)[1]:
            problems.append(f"{key} is {values[key]!r}, but must be of type {annotation}.")
    if values["precision"] not in PRECISIONS:
        problems.append(f"precision is '{values['precision']}'; allowed: {', '.join(PRECISIONS)}.")
    typed = not problems
    problems += out_of_range(_given(raw, chosen))
    if typed:
        spec = RunSpec(
            **values, data_digest=digest, **chosen, budget=budget, evaluation=evaluation, parent=raw.get("parent")
        )
        problems += impossible(spec)
    if problems:
        raise Problem(*problems)
    return spec


def resolve_collection(raw: dict[str, Any], name: str) -> RunSpec:
    """The RunSpec of `collection: {name: ...}`, its data called `name`. Errors: one Problem with everything wrong in it."""
    problems = [
        f"'{key}' is no part of a run that collects data; it has a collection alone."
        for key in raw
        if key not in ("collection", "seed")
    ]
    part, seed = part_of("collection", raw.get("collection"), problems), raw.get("seed", 0)
    if not parts.fit(seed, "int")[1]:
        problems.append(f"seed is {seed!r}, but must be of type int.")
    problems += out_of_range({"seed": seed})
    if problems or part is None:
        raise Problem(*problems)
    spec = collected(part, name, seed)
    if sentences := impossible(spec):
        raise Problem(*sentences)
    return spec


def part_of(kind: parts.Kind, given: Any, problems: list[str]) -> PartSpec | None:
    """The chosen part with its defaults filled in, or None with the problems noted."""
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        problems.append(f"{kind} is {given!r}, but must be a mapping with a name, such as {kind}: {{name: ...}}.")
        return None
    settings = {key: value for key, value in given.items() if key != "name"}
    try:
        part = parts.find(kind, given["name"])
    except Problem as problem:
        problems += problem.messages
        return None
    settings, found = parts.check(part, settings)
    problems += found
    return PartSpec(part.name, part.version, settings)


def _typed(cls: type, where: str, given: Any, problems: list[str]) -> Any:
    """An instance of a settings dataclass, or None with the problems noted."""
    fields = {f.name: f for f in dataclasses.fields(cls)}
    if not isinstance(given, dict):
        problems.append(f"{where} is {given!r}, but must be a mapping with: {', '.join(fields)}.")
        return None
    start = len(problems)
    for key in given.keys() - fields.keys():
        problems.append(f"{where} has no setting '{key}'.{nearest(key, fields)} Allowed: {', '.join(fields)}.")
    for key, spec in fields.items():
        annotation = spec.type if isinstance(spec.type, str) else spec.type.__name__
        if key in given and not parts.fit(given[key], annotation)[1]:
            problems.append(f"{where}.{key} is {given[key]!r}, but must be of type {annotation}.")
        elif key not in given and spec.default is dataclasses.MISSING:
            problems.append(f"{where} needs {where}.{key} ({annotation}).")
    return cls(**given) if len(problems) == start else None


def _given(raw: dict[str, Any], chosen: dict[str, PartSpec | None]) -> dict[str, Any]:
    """Every setting that is there, by its dotted name, whatever else is wrong with the request."""
    found = {"seed": raw.get("seed", 0)}
    for kind, part in chosen.items():
        found |= {f"{kind}.{key}": value for key, value in (part.settings if part else {}).items()}
    for name in ("budget", "evaluation"):
        if isinstance(raw.get(name), dict):
            found |= {f"{name}.{key}": value for key, value in raw[name].items()}
    return found
