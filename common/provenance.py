"""Where a result came from: code, versions, machine and command."""

import hashlib
import importlib.metadata
import os
import platform
import shlex
import socket
import subprocess
import sys
import time
from functools import cache
from typing import Any

from common.files import read_json
from common.places import ROOT

ORIGIN = "code-version.json"  # lies in a copy of the code and says what it is a copy of


@cache
def code_version() -> dict[str, Any]:
    """Commit, whether the tree differs from it, and a digest of all Python source and specs of common/ and papers/."""
    if (ROOT / ORIGIN).exists():
        return dict(read_json(ROOT / ORIGIN))
    total = hashlib.sha256()
    for room in ("common", "papers"):
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in (".py", ".yaml"):
                total.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    commit = _git("rev-parse", "HEAD")
    changed = bool(_git("status", "--porcelain", "--", "common", "papers")) if commit else None
    return {"commit": commit, "changed": changed, "digest": total.hexdigest()[:16]}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def provenance(device: str, threads: int) -> dict[str, Any]:
    """Everything about the surroundings of a run that a reader may ask for."""
    packages = ("torch", "lightning", "numpy", "timm", "torchvision")
    return {
        "code": code_version(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in packages},
        "host": socket.gethostname(),
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "device": device,
        "threads": threads,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]]),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
