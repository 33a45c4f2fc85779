"""Small file helpers: atomic writes, JSON, digests. A reader never sees half a file."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import Problem


def write_atomic(path: Path, content: bytes | str) -> None:
    """Nothing; `path` holds `content` whole or is left as it was (write, flush, atomic replace).

    Errors: Problem when the folder cannot be written or the disk is full.
    """
    raw = content.encode() if isinstance(content, str) else content
    name = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            name = file.name
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError as error:
        if name and os.path.exists(name):
            os.unlink(name)
        raise Problem(
            f"Cannot write {path}: {error.strerror or error}. What was stored before is untouched. "
            "Free space or make the folder writable (REPLICATE_RUNS and REPLICATE_RESULTS name other folders), "
            "then give the same command again."
        ) from error


def write_json(path: Path, value: Any) -> None:
    """Nothing; `path` holds `value` as readable JSON with sorted keys."""
    write_atomic(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time is within such a block on a folder, which is made where it is missing.

    Where the file system locks no folders, or the folder cannot be made, the block is entered all the same: what is
    written in it is atomic, and says itself what is wrong.
    """
    handle = None
    with contextlib.suppress(OSError, ImportError):
        import fcntl

        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def read_json(path: Path) -> Any:
    """The value stored in a JSON file. Errors: Problem when it is cut short or no JSON."""
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Problem(f"{path} is damaged ({error}). Move it away and run the command that made it again.") from error


def sha256_bytes(raw: bytes) -> str:
    """Hexadecimal SHA-256 of bytes."""
    return hashlib.sha256(raw).hexdigest()


def sha256_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
