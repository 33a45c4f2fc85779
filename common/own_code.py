"""Code of one's own that a run is made of: its files, and the version that follows from them."""

import ast
import importlib.util
import sys
from functools import cache
from pathlib import Path

from common import imported
from common.files import sha256_bytes
from common.registry import KINDS, REGISTRY


def own_version(tree: ast.Module, path: str) -> str:
    """The module's VERSION where it states one, else a digest of its file and of the files of yours that it imports:
    edited code is another run."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if getattr(target, "id", "") == "VERSION":
            return str(ast.literal_eval(node.value))  # type: ignore[attr-defined]
    files = _closure(path)
    built_in = repr({kind: {n: version for n, (_, version) in REGISTRY[kind].items()} for kind in KINDS})  # its bases
    return "file-" + sha256_bytes(b"".join(files[name] for name in sorted(files)) + built_in.encode())[:12]


def _closure(path: str) -> dict[str, bytes]:
    """Module -> source of the module of a dotted path and of all it imports, neither installed nor part of common/."""
    return imported.sources(path.rpartition(".")[0], lambda root: not _foreign(root))


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
    for module in _closure(name):
        steps = module.split(".")
        for level in range(1, len(steps) + 1):
            spec = importlib.util.find_spec(".".join(steps[:level]))
            if spec and spec.origin and spec.origin.endswith(".py"):
                end = "/__init__.py" if spec.submodule_search_locations is not None else ".py"
                found["/".join(steps[:level]) + end] = Path(spec.origin).read_bytes()
    return found
