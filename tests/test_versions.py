"""A built-in part whose code changed must get a new version, or its pin renewed when its meaning is the same.

Renew the pins: python -m tests.test_versions
"""

import ast
import json
import sys
from pathlib import Path

from common import parts
from common.files import sha256_bytes
from common.spec import LOOP_VERSION

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "tests" / "pins.json"
# what the loop's version stands for: the order of events, batches, evaluation, memory, data on the device
LOOP = ("loop", "batches", "build", "evaluate", "rng", "schedules", "learners/base", "learners/memory", "streams/resident",
        "streams/stream", "streams/transforms")  # fmt: skip
# what several models are made of; a change that can move a number raises the version of each of them
MODELS = ("models/layered", "networks")


def meaning(path: Path) -> str:
    """Digest of a file's code without docstrings, comments and layout."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value.value = ""
    return sha256_bytes(ast.dump(tree).encode())[:16]


def pins() -> dict[str, list[object]]:
    """name -> [version, meaning] of every built-in part, and of the loop."""
    found: dict[str, list[object]] = {}
    for kind, known in parts.REGISTRY.items():
        for name, (path, version) in known.items():
            found[f"{kind} {name}"] = [version, meaning(ROOT.joinpath(*path.split(".")[:-1]).with_suffix(".py"))]
    for name in LOOP:
        found[f"loop {name}"] = [LOOP_VERSION, meaning(ROOT / "common" / f"{name}.py")]
    for name in MODELS:
        found[f"models {name}"] = [1, meaning(ROOT / "common" / f"{name}.py")]
    return found


def test_changed_code_has_a_new_version() -> None:
    old = json.loads(PINS.read_text())
    changed = [name for name, pin in pins().items() if old.get(name) != pin]
    assert changed == [], (
        f"{', '.join(changed)}: the code changed. If it can move a number, raise the version in common/parts.py (or LOOP_VERSION); "
        "in either case renew the pins: python -m tests.test_versions"
    )


def test_docstrings_and_comments_are_no_change(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text('def f(x):\n    """One."""\n    return x + 1\n')
    one = meaning(path)
    path.write_text('# why\ndef f(x):\n    """Two."""\n\n    return x + 1  # so\n')
    assert meaning(path) == one
    path.write_text('def f(x):\n    """One."""\n    return x + 2\n')
    assert meaning(path) != one


if __name__ == "__main__":
    PINS.write_text(json.dumps(pins(), indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"pinned {len(pins())} parts\n")
