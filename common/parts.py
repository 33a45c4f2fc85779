"""The parts a run is built from: plain dictionaries from name to place, and their parameters read from source.

A part is a function or class whose keyword-only parameters are its settings. They are read from the source text,
so that a spec is checked in full without importing torch; the signature is the one place where they are written.
A part of your own needs no entry here: give its dotted path (`my_methods.MyReplay`) as the name.
"""

import ast
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from common.errors import Problem, nearest
from common.files import sha256_bytes

Kind = Literal["stream", "model", "learner", "optimiser", "augmentation", "analysis", "collection"]
KINDS: tuple[Kind, ...] = ("stream", "model", "learner", "optimiser")  # those that every run has
OPTIONAL: tuple[Kind, ...] = ("augmentation", "analysis", "collection")  # in the identity of the runs that have them

# name -> (dotted path, version). Raise the version when the meaning changes: new run ids follow.
REGISTRY: dict[Kind, dict[str, tuple[str, int]]] = {
    "stream": {
        "split": ("common.streams.builders.split", 1),
        "rotated": ("common.streams.builders.rotated", 1),
        "permuted": ("common.streams.builders.permuted", 1),
        "domains": ("common.streams.builders.domains", 1),
        "subset": ("common.streams.subsets.subset", 1),
        "recurring": ("common.streams.recurring.recurring", 1),
    },
    "model": {
        "mlp": ("common.models.small.mlp", 1),
        "small_cnn": ("common.models.small.small_cnn", 1),
        "slim_resnet18": ("common.models.resnet.slim_resnet18", 1),
        "timm": ("common.models.from_timm.timm_model", 1),
        "mlp_he": ("common.models.deep_mlp.mlp_he", 1),
        "vgg": ("common.models.vgg.vgg", 1),
        "resnet": ("common.models.deep_resnet.resnet", 1),
        "mnist_cnn": ("common.models.scole.mnist_cnn", 1),
        "cifar_resnet": ("common.models.scole.cifar_resnet", 1),
        "wide_resnet": ("common.models.scole.wide_resnet", 1),
    },
    "learner": {
        "finetune": ("common.learners.finetune.Finetune", 1),
        "er": ("common.learners.replay.ER", 1),
        "joint": ("common.learners.replay.Joint", 1),
        "gem": ("common.learners.gem.GEM", 1),
        "agem": ("common.learners.gem.AGEM", 1),
        "ewc": ("common.learners.regularise.EWC", 1),
        "si": ("common.learners.regularise.SI", 1),
        "lwf": ("common.learners.lwf.LwF", 1),
        "masked": ("common.learners.masked.Masked", 1),
    },
    "optimiser": {
        "sgd": ("common.optimisers.sgd", 1),
        "adam": ("common.optimisers.adam", 1),
        "sgd_scheduled": ("common.schedules.sgd_scheduled", 1),
        "adamw_scheduled": ("common.schedules.adamw_scheduled", 1),
    },
    "augmentation": {"crop_flip": ("common.streams.augment.crop_flip", 1)},
    "analysis": {
        "layerwise": ("common.analyses.layerwise", 1),
    },
    "collection": {},
}

REQUIRED = object()  # marks a parameter without a default


@dataclass(frozen=True)
class Parameter:
    """One setting of a part: its annotation as source text, and its default (or REQUIRED)."""

    annotation: str
    default: Any


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
        tree, _ = _source(path)
        version = str(number)
    elif "." in name:
        path = name
        tree, _ = _source(path)
        version = _own_version(tree, path)
    else:
        known = ", ".join(sorted(REGISTRY[kind])) or "none"
        raise Problem(
            f"{kind}.name is '{name}', which is no {kind}.{nearest(name, REGISTRY[kind])} "
            f"Known: {known}; or the dotted path of your own, such as my_module.{name.title()}."
        )
    return Part(kind, name, path, version, _parameters(tree, path.rpartition(".")[2], path))


def _source(path: str) -> tuple[ast.Module, bytes]:
    module, _, _attribute = path.rpartition(".")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise Problem(f"'{path}' cannot be found: there is no module '{module}'. Run from the folder that holds it.")
    if not spec.origin or not spec.origin.endswith(".py"):
        raise Problem(
            f"'{path}' cannot be read: '{module}' has no Python source. A part is a function or class in a .py file."
        )
    raw = Path(spec.origin).read_bytes()
    try:
        return ast.parse(raw), raw
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise Problem(f"{spec.origin}{line} is no Python that can be read: {error}.") from error


def _own_version(tree: ast.Module, path: str) -> str:
    """The module's VERSION where it states one, else a digest of its file and of the files of yours that it imports:
    edited code is another run."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if getattr(target, "id", "") == "VERSION":
            return str(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    files = _closure(path.rpartition(".")[0], {})
    built_in = repr({kind: {n: version for n, (_, version) in REGISTRY[kind].items()} for kind in KINDS})  # its bases
    return "file-" + sha256_bytes(b"".join(files[name] for name in sorted(files)) + built_in.encode())[:12]


def _closure(module: str, met: dict[str, bytes]) -> dict[str, bytes]:
    """Source of a module and of all it imports, as far as it is neither installed nor part of common/."""
    if module in met or _foreign(module.partition(".")[0]):
        return met
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return met
    origin = Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None
    if origin is None:
        return met
    met[module] = origin.read_bytes()
    for node in ast.walk(ast.parse(met[module])):
        if isinstance(node, ast.ImportFrom) and node.module:
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                _closure(name, met)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                _closure(alias.name, met)
    return met


@cache
def _foreign(root: str) -> bool:
    """Whether a top-level module is common/ or installed. Looked up by its root, for a look at `torch.nn` imports torch."""
    if root == "common":
        return True
    try:
        spec = importlib.util.find_spec(root)
    except (ImportError, ValueError):
        return False
    kinds = ("site-packages", "dist-packages", f"python{sys.version_info[0]}.{sys.version_info[1]}")
    return bool(spec and spec.origin and any(kind in Path(spec.origin).parts for kind in kinds))


def own_files(name: str) -> dict[str, bytes]:
    """Relative path -> content of the files that a part of your own consists of, with their packages' __init__.py."""
    found = {}
    for module in _closure(name.rpartition(".")[0], {}):
        steps = module.split(".")
        for level in range(1, len(steps) + 1):
            spec = importlib.util.find_spec(".".join(steps[:level]))
            if spec and spec.origin and spec.origin.endswith(".py"):
                end = "/__init__.py" if spec.submodule_search_locations is not None else ".py"
                found["/".join(steps[:level]) + end] = Path(spec.origin).read_bytes()
    return found


def _parameters(tree: ast.Module, attribute: str, path: str) -> dict[str, Parameter]:
    """Keyword-only parameters of a function, or of a class's own `__init__`, or of the one it inherits."""
    nodes = {n.name: n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    node = nodes.get(attribute)
    if node is None:
        raise Problem(f"'{path}' cannot be found: its module has no '{attribute}'.{nearest(attribute, nodes)}")
    if isinstance(node, ast.ClassDef):
        init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        if init is None:
            return _inherited(tree, node, path)
        node = init
    if node.args.kwarg:
        raise Problem(
            f"'{path}' takes **{node.args.kwarg.arg}: name its settings one by one, so that they can be checked."
        )
    return {
        argument.arg: Parameter(
            ast.unparse(argument.annotation) if argument.annotation else "object",
            REQUIRED if default is None else _default(default, argument.arg, path),
        )
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    }


def _inherited(tree: ast.Module, node: ast.ClassDef, path: str) -> dict[str, Parameter]:
    """Parameters of the first base class, in this file or where this file imports it from; none without a base."""
    if node.bases and isinstance(node.bases[0], ast.Attribute):
        raise Problem(
            f"'{path}' has the base {ast.unparse(node.bases[0])}: import the class itself (from ... import ...)."
        )
    base = getattr(node.bases[0], "id", "") if node.bases else ""
    if any(isinstance(n, ast.ClassDef) and n.name == base for n in tree.body):
        return _parameters(tree, base, path)
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            for name in statement.names:
                if (name.asname or name.name) == base and statement.module.split(".")[0] not in OTHER_ROOTS:
                    origin = f"{statement.module}.{name.name}"
                    return _parameters(_source(origin)[0], name.name, origin)
    return {}


def _default(node: ast.expr, name: str, path: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise Problem(
            f"The default of '{name}' of {path} is `{ast.unparse(node)}`, but must be a value written out, such as 0.5."
        ) from None


OTHER_ROOTS = ("torch", "lightning", "timm")  # their classes have no settings of ours


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
            problems.append(f"{part.kind}.{key} is {value!r}, but must be of type {parameter.annotation}.")
        settings[key] = fitted
    return settings, problems


def fit(value: Any, annotation: str) -> tuple[Any, bool]:
    """(value in its one normal form, whether it fits the annotation); whole numbers serve as floats."""
    return _fit(value, _node(annotation))


@cache
def _node(annotation: str) -> ast.expr:
    return ast.parse(annotation, mode="eval").body


def _fit(value: Any, node: ast.expr) -> tuple[Any, bool]:
    match node:
        case ast.BinOp(left=left, right=right):
            fitted, fits = _fit(value, left)
            return (fitted, True) if fits else _fit(value, right)
        case ast.Constant(value=None):
            return value, value is None
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            allowed = ast.literal_eval(choices)
            return value, value in (allowed if isinstance(allowed, tuple) else (allowed,))
        case ast.Subscript(value=ast.Name(id="list"), slice=item):
            if not isinstance(value, (list, tuple)):
                return value, False
            pairs = [_fit(v, item) for v in value]
            return [v for v, _ in pairs], all(fits for _, fits in pairs)
        case ast.Name(id="float"):
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            return (float(value) if number else value), number
        case ast.Name(id="int"):
            return value, isinstance(value, int) and not isinstance(value, bool)
        case ast.Name(id="str" | "bool" as name):
            return value, type(value).__name__ == name
    return value, True
