"""The source of a module and of all that it imports, found by reading: nothing but the packages around it is imported."""

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path

from common.files import sha256_bytes


def sources(module: str, ours: Callable[[str], bool], met: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Module -> its source, for `module` and all it imports, as far as the first word of its name is `ours`.

    Names that are no module of Python source (functions, compiled code) are passed over.
    """
    met = {} if met is None else met
    if module in met or not ours(module.partition(".")[0]):
        return met
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return met
    if spec is None or not (spec.origin or "").endswith(".py"):
        return met
    met[module] = Path(str(spec.origin)).read_bytes()
    try:
        nodes = list(ast.walk(ast.parse(met[module])))
    except SyntaxError:  # whoever imports it says so
        return met
    for node in nodes:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (origin := imported_from(node, spec.parent)):
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]  # each may be a module
        for name in names:
            sources(name, ours, met)
    return met


def imported_from(node: ast.ImportFrom, package: str | None) -> str:
    """Dotted name of the module that a `from ... import` in a module of that package means; empty above its top."""
    try:
        return importlib.util.resolve_name("." * node.level + (node.module or ""), package)
    except ImportError:
        return ""


def digest(*modules: str) -> str:
    """Digest of those modules of this repository and of all of it that they import."""
    found: dict[str, bytes] = {}
    for module in modules:
        sources(module, ("common", "papers").__contains__, found)
    return sha256_bytes(b"".join(found[name] for name in sorted(found)))[:16]
