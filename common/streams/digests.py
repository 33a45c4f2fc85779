"""Identity of a data set: a digest of its files, remembered for as long as they do not change."""

import contextlib
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable
from typing import Any

from common.errors import Problem
from common.files import sha256_bytes, write_json
from common.places import cache_dir
from common.streams.catalogue import Found
from common.streams.formats import broken, refuse_page

DECODER = 1  # raised when the same files are decoded to other arrays than before: that is other data


def remembered(what: str, found: Found, compute: Callable[[], Any]) -> Any:
    """compute(), remembered for as long as no file changes its path, size or time of change.

    Errors: Problem when a file is missing or unreadable.
    """
    try:
        stats = [(str(path), (info := path.stat()).st_size, info.st_mtime_ns) for path in found.files]
    except OSError as error:
        raise Problem(
            f"{error.filename}: {error.strerror}, though {found.path} names it. Put it there again."
        ) from error
    key = sha256_bytes(json.dumps([what, stats]).encode())
    place = cache_dir() / "digests" / f"{key}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return json.loads(place.read_text())[what]
    value = compute()
    with contextlib.suppress(Problem):  # a cache that cannot be written only costs time here
        write_json(place, {what: value})
    return value


def digest_of(found: Found) -> str:
    """SHA-256 over the sorted (file name, SHA-256 of its unpacked bytes), remembered."""
    return str(remembered(f"digest-{DECODER}", found, lambda: hash_files(found)))


def hash_files(found: Found) -> str:
    """The same digest, computed from the bytes; a .gz file counts as what it unpacks to."""
    rows = []
    for path in found.files:
        packed = path.suffix == ".gz"
        name = path.relative_to(found.path).as_posix() if found.path else path.name
        if packed:
            refuse_page(path)
        try:
            with gzip.open(path, "rb") if packed else path.open("rb") as file:
                rows.append([name.removesuffix(".gz"), hashlib.file_digest(file, "sha256").hexdigest()])
        except (OSError, EOFError, zlib.error) as error:
            raise broken(path, f"unreadable ({error})") from error
    return sha256_bytes(json.dumps([DECODER, sorted(rows)]).encode())
