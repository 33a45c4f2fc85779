"""The settings of a part, read from the source of its signature: nothing is imported."""

import ast
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import Problem, nearest
from common.imported import imported_from

REQUIRED = object()  # marks a parameter without a default
OTHER_ROOTS = ("torch", "lightning", "timm")  # their classes have no settings of ours


@dataclass(frozen=True)
class Parameter:
    """One setting of a part: its annotation as source text, and its default (or REQUIRED)."""

    annotation: str
    default: Any


def source(path: str) -> ast.Module:
    """The module of a dotted path. Errors: Problem when it is not there, or no Python that can be read."""
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
        return ast.parse(raw)
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise Problem(f"{spec.origin}{line} is no Python that can be read: {error}.") from error


def parameters(tree: ast.Module, attribute: str, path: str) -> dict[str, Parameter]:
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
        return parameters(tree, base, path)
    spec = importlib.util.find_spec(path.rpartition(".")[0])
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom):
            module = imported_from(statement, spec.parent if spec else None)
            for name in statement.names:
                if (name.asname or name.name) == base and module and module.split(".")[0] not in OTHER_ROOTS:
                    origin = f"{module}.{name.name}"
                    return parameters(source(origin), name.name, origin)
    return {}


def _default(node: ast.expr, name: str, path: str) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise Problem(
            f"The default of '{name}' of {path} is `{ast.unparse(node)}`, but must be a value written out, such as 0.5."
        ) from None
