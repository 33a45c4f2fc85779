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
    package = module if spec.submodule_search_locations is not None else module.rpartition(".")[0]
    try:
        nodes = list(ast.walk(ast.parse(met[module])))
    except SyntaxError:  # whoever imports it says so
        return met
    for node in nodes:
        for name in _imports(node, package):
            sources(name, ours, met)
    return met


def _imports(node: ast.AST, package: str) -> list[str]:
    """What a statement within a package may import: modules, and names that may be modules."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    origin = node.module or ""
    if node.level:
        try:
            origin = importlib.util.resolve_name("." * node.level + origin, package)
        except ImportError:  # beyond the top
            return []
    return [origin, *(f"{origin}.{alias.name}" for alias in node.names)]


def digest(*modules: str) -> str:
    """Digest of those modules of this repository and of all of it that they import."""
    found: dict[str, bytes] = {}
    for module in modules:
        sources(module, ("common", "papers").__contains__, found)
    return sha256_bytes(b"".join(found[name] for name in sorted(found)))[:16]
