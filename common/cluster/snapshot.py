"""The code that queued jobs will run: a copy in the folder of runs, named by its content.

Whatever becomes of the working tree, a job runs what was submitted. Equal code is kept once. The Python environment
(.venv) is not copied: leave it as it is while jobs wait.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from common import parts
from common.errors import Problem
from common.files import sha256_bytes
from common.own_code import own_files
from common.places import ROOT, cluster_dir
from common.provenance import ORIGIN, code_version
from common.spec import RunSpec

KINDS = (".py", ".yaml", ".lock")


def take(runs: Iterable[RunSpec]) -> Path:
    """The folder of the copy: all of common/ and papers/, and the parts of your own that these runs use.

    Errors: Problem when a file cannot be read or the copy cannot be written; then nothing is queued.
    """
    try:
        files = _files(runs)
        origin = code_version()
        names = json.dumps({name: sha256_bytes(raw) for name, raw in sorted(files.items())})
        folder = cluster_dir() / "code" / sha256_bytes((names + json.dumps(origin, sort_keys=True)).encode())[:16]
        if not folder.exists():
            _copy(files | {ORIGIN: json.dumps(origin).encode()}, folder)
    except OSError as error:
        raise Problem(
            f"The code could not be copied for the jobs: {error.filename or cluster_dir()}: {error.strerror}. Nothing was "
            "queued. Make the file readable, or free space in the folder of runs (REPLICATE_RUNS names another one)."
        ) from error
    return folder


def _files(runs: Iterable[RunSpec]) -> dict[str, bytes]:
    """Relative path -> content of every file that a run may read."""
    found = {}
    for room in ("common", "papers"):
        for path in (ROOT / room).rglob("*"):
            if path.suffix in KINDS:
                found[path.relative_to(ROOT).as_posix()] = path.read_bytes()
    used = [getattr(run, kind) for run in runs for kind in (*parts.KINDS, *parts.OPTIONAL)]
    own = {part.name for part in used if part and part.name}
    for name in own - {name for known in parts.REGISTRY.values() for name in known}:
        found |= own_files(name)
    return found


def _copy(files: dict[str, bytes], folder: Path) -> None:
    """Writes the copy whole or not at all: into a folder of its own, which then gets the name."""
    fresh = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        for name, raw in files.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)
        if not folder.exists():
            os.replace(fresh, folder)
    except OSError:
        if not folder.exists():  # else another submission of the same code was faster
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
