"""The parts a run is built from: plain dictionaries from name to place, and their parameters read from source.

A part is a function or class whose keyword-only parameters are its settings. They are read from the source text,
so that a spec is checked in full without importing torch; the signature is the one place where they are written.
A part of your own needs no entry here: give its dotted path (`my_methods.MyReplay`) as the name.
"""

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from common.errors import Problem, nearest
from common.fit import fit
from common.own_code import own_version
from common.registry import KINDS, OPTIONAL, REGISTRY, Kind
from common.signatures import REQUIRED, Parameter, parameters, source

__all__ = ["KINDS", "OPTIONAL", "REGISTRY", "Kind", "Part", "check", "find", "fit"]


@dataclass(frozen=True)
class Part:
    """Where a part lives, which version it has and which settings it takes."""

    kind: Kind
    name: str
    path: str
    version: str
    parameters: dict[str, Parameter]

    def load(self) -> Any:
        """The function or class itself (imports its module, and torch with it)."""
        module, _, attribute = self.path.rpartition(".")
        return getattr(importlib.import_module(module), attribute)


@cache
def find(kind: Kind, name: str) -> Part:
    """The part of that name. Errors: Problem for an unknown name, with the nearest valid one."""
    if name in REGISTRY[kind]:
        path, number = REGISTRY[kind][name]
        tree = source(path)
        version = str(number)
    elif "." in name:
        path = name
        tree = source(path)
        version = own_version(tree, path)
    else:
        known = ", ".join(sorted(REGISTRY[kind])) or "none"
        raise Problem(
            f"{kind}.name is '{name}', which is no {kind}.{nearest(name, REGISTRY[kind])} "
            f"Known: {known}; or the dotted path of your own, such as my_module.{name.title()}."
        )
    return Part(kind, name, path, version, parameters(tree, path.rpartition(".")[2], path))


def check(part: Part, given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(settings with defaults filled in, problems): unknown names, wrong types and missing values together."""
    problems = []
    for key in given.keys() - part.parameters.keys():
        allowed = ", ".join(sorted(part.parameters)) or "none"
        problems.append(
            f"{part.kind} '{part.name}' has no setting '{key}'.{nearest(key, part.parameters)} Allowed: {allowed}."
        )
    settings = {}
    for key, parameter in part.parameters.items():
        value = given.get(key, parameter.default)
        if value is REQUIRED:
            problems.append(f"{part.kind} '{part.name}' needs {part.kind}.{key} ({parameter.annotation}).")
            continue
        fitted, fits = fit(value, parameter.annotation)
        if not fits:
            many = " For several values write a spec with a grid." if isinstance(value, list) else ""
            problems.append(f"{part.kind}.{key} is {value!r}, but must be of type {parameter.annotation}.{many}")
        settings[key] = fitted
    return settings, problems
